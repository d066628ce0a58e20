import { chmodSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { readSessionBind, readUserAuth, sshFingerprint, SshReader, sshString } from '../net/ssh-wire.ts';
import type { SessionBind } from '../net/ssh-wire.ts';
import type { SshPolicy } from '../policy/contract.ts';
import { printable } from './decide.ts';

/** Message numbers of draft-miller-ssh-agent §5. Everything else a client may ask for changes the agent, and is refused. */
const FAILURE = 5;
const SUCCESS = 6;
const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
const EXTENSION = 27;

/** OpenSSH's own limit of a message. */
const MESSAGE_BYTES = 256 * 1024;
/** A client binds once; a jump host makes a second. */
const BINDS_MAX = 16;
const CLIENTS_MAX = 32;
/** A key that must be touched or confirmed takes its time. */
const ANSWER_MS = 120_000;

/** One signature that was asked for. */
export interface SignRecord {
  readonly action: 'allow' | 'deny';
  readonly reason: string;
  /** Fingerprints; absent where the request did not say. */
  readonly key?: string;
  readonly hostKey?: string;
  /** Printable ASCII. */
  readonly user?: string;
}

export interface SshAgentOptions {
  /** Unix socket that only this sandbox sees. */
  readonly path: string;
  /** The user's own agent. */
  readonly upstream: string;
  readonly grants: readonly SshPolicy[];
  readonly onSign: (record: SignRecord) => void;
}

/**
 * An ssh agent for one sandbox. It signs logins only, only in sessions that a named host key has signed itself
 * (session-bind@openssh.com, OpenSSH 8.9), and shows only the named keys. The private key stays with the user's agent.
 */
export class SshAgentBroker implements AsyncDisposable {
  readonly #options: SshAgentOptions;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  /** Read anew for each question and each signature. */
  #grants: readonly SshPolicy[];

  private constructor(options: SshAgentOptions) {
    this.#options = options;
    this.#grants = options.grants;
    this.#server = createServer((socket) => this.serve(socket));
    this.#server.on('error', () => undefined);
  }

  /** Listens. Rejects when the socket cannot be made. */
  static async listen(options: SshAgentOptions): Promise<SshAgentBroker> {
    const broker = new SshAgentBroker(options);
    await new Promise<void>((resolve, reject) => {
      broker.#server.once('error', reject);
      broker.#server.listen(options.path, () => resolve());
    });
    chmodSync(options.path, 0o600);
    return broker;
  }

  /** Another policy is in force: it counts for the next question and the next signature. */
  replace(grants: readonly SshPolicy[]): void {
    this.#grants = grants;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Takes a connection of the sandbox, wherever it came in. */
  serve(socket: Socket): void {
    if (this.#clients.size >= CLIENTS_MAX) return void socket.destroy();
    this.#clients.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.#clients.delete(socket));
    // One of a relay may be half open.
    socket.once('end', () => socket.end());
    const binds: SessionBind[] = [];
    // One at a time and in order: a signature must see the binding that came before it.
    readMessages(socket, async (message) => {
      const answer = await this.#answer(message, binds).catch(() => Buffer.of(FAILURE));
      if (!socket.destroyed) socket.write(sshString(answer));
    });
    // One of a relay was stopped while its preface was read.
    socket.resume();
  }

  async #answer(message: Buffer, binds: SessionBind[]): Promise<Buffer> {
    switch (message[0]) {
      case REQUEST_IDENTITIES:
        return this.#identities();
      case SIGN_REQUEST:
        return this.#sign(message, binds);
      case EXTENSION:
        return this.#extend(message, binds);
      default:
        return Buffer.of(FAILURE);
    }
  }

  #extend(message: Buffer, binds: SessionBind[]): Buffer {
    const reader = new SshReader(message.subarray(1));
    if (reader.text() !== 'session-bind@openssh.com' || binds.length >= BINDS_MAX) return Buffer.of(FAILURE);
    const bind = readSessionBind(reader);
    if (bind === undefined) return Buffer.of(FAILURE);
    binds.push(bind);
    return Buffer.of(SUCCESS);
  }

  async #identities(): Promise<Buffer> {
    const keys = (await this.#upstreamKeys()).filter((key) =>
      this.#grants.some((grant) => namesKey(grant, key)),
    );
    const count = Buffer.alloc(4);
    count.writeUInt32BE(keys.length);
    const entries = keys.flatMap((key) => [sshString(key.blob), sshString(key.comment)]);
    return Buffer.concat([Buffer.of(IDENTITIES_ANSWER), count, ...entries]);
  }

  async #upstreamKeys(): Promise<readonly AgentKey[]> {
    return readKeys(await ask(this.#options.upstream, Buffer.of(REQUEST_IDENTITIES)));
  }

  async #sign(message: Buffer, binds: readonly SessionBind[]): Promise<Buffer> {
    const reader = new SshReader(message.subarray(1));
    const blob = reader.string();
    const data = reader.string();
    const flags = reader.u32();
    if (blob === undefined || data === undefined || flags === undefined || reader.left !== 0)
      return this.#refuse({ action: 'deny', reason: 'a request to sign that is malformed' });
    const record = await this.#judge(blob, data, binds);
    if (record.action === 'deny') return this.#refuse(record);
    this.#options.onSign(record);
    const answer = await ask(this.#options.upstream, message);
    return answer[0] === SIGN_RESPONSE ? answer : Buffer.of(FAILURE);
  }

  #refuse(record: SignRecord): Buffer {
    this.#options.onSign(record);
    return Buffer.of(FAILURE);
  }

  async #judge(blob: Buffer, data: Buffer, binds: readonly SessionBind[]): Promise<SignRecord> {
    const key = sshFingerprint(blob);
    const deny = (reason: string, more: object = {}): SignRecord => ({
      action: 'deny',
      reason,
      key,
      ...more,
    });
    const login = readUserAuth(data);
    if (login === undefined) return deny('only logins are signed, and this is none');
    if (!login.key.equals(blob)) return deny('a login with another key than the one that should sign');
    if (binds.some((bind) => bind.forwarding)) return deny('the agent is being forwarded to another host');
    const bind = binds.find((candidate) => candidate.sessionId.equals(login.sessionId));
    if (bind === undefined)
      return deny('no host has signed this session (OpenSSH 8.9 or newer inside binds it by itself)');
    const hostKey = sshFingerprint(bind.hostKey);
    const facts = { hostKey, user: printable(login.user.slice(0, 64)) };
    if (login.hostKey !== undefined && !login.hostKey.equals(bind.hostKey))
      return deny('the login names another host than the session', facts);
    const grantsNow = (): readonly SshPolicy[] =>
      this.#grants.filter((grant) => grant.hostKeys.includes(hostKey));
    if (grantsNow().length === 0) return deny('no rule names this host key', facts);
    const offered = (await this.#upstreamKeys()).find((candidate) => candidate.blob.equals(blob));
    // After the last wait: the policy may have changed meanwhile.
    const grants = grantsNow();
    if (offered === undefined || !grants.some((grant) => namesKey(grant, offered)))
      return deny('no rule lets this key sign for this host', facts);
    return { action: 'allow', reason: 'a rule names this host key and this key', key, ...facts };
  }
}

interface AgentKey {
  readonly blob: Buffer;
  readonly comment: string;
}

function namesKey(grant: SshPolicy, key: AgentKey): boolean {
  return (grant.keys ?? []).some((name) => name === sshFingerprint(key.blob) || name === key.comment);
}

function readKeys(answer: Buffer): readonly AgentKey[] {
  if (answer[0] !== IDENTITIES_ANSWER) return [];
  const reader = new SshReader(answer.subarray(1));
  const keys: AgentKey[] = [];
  for (let left = reader.u32() ?? 0; left > 0; left--) {
    const blob = reader.string();
    const comment = reader.text();
    if (blob === undefined || comment === undefined) break;
    keys.push({ blob, comment });
  }
  return keys;
}

/** One question to the user's agent, on a connection of its own. */
function ask(path: string, message: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const timer = setTimeout(() => socket.destroy(new Error('the agent did not answer')), ANSWER_MS);
    socket.once('close', () => {
      clearTimeout(timer);
      reject(new Error('the agent closed'));
    });
    socket.on('error', reject);
    readMessages(socket, async (answer) => {
      resolve(answer);
      socket.destroy();
    });
    socket.write(sshString(message));
  });
}

/**
 * Messages as they complete: length, then that many bytes. The socket is not read while one is being handled, so a flood waits in
 * the kernel. An impossible length ends the connection.
 */
function readMessages(socket: Socket, handle: (message: Buffer) => Promise<void>): void {
  let held: Buffer = Buffer.alloc(0);
  const next = async (): Promise<void> => {
    socket.pause();
    while (held.length >= 4 && !socket.destroyed) {
      const length = held.readUInt32BE(0);
      if (length === 0 || length > MESSAGE_BYTES) return void socket.destroy();
      if (held.length < 4 + length) break;
      const message = Buffer.from(held.subarray(4, 4 + length));
      held = held.subarray(4 + length);
      await handle(message);
    }
    socket.resume();
  };
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    void next();
  });
}
