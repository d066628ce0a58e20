import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';
import { createServer as createTls, type Server } from 'node:tls';
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { Sandbox, type SandboxOptions } from '../../src/index.ts';
import { AttackBox, outcomes, policyTier, PYTHON, pythonProbe, type AttackTier } from './attack.ts';
import type { BoxResult, Record_ } from './box.ts';

export const LLM = 'api.llm.test';
export const OTHER = 'files.other.test';
export const GIT = 'git.forge.test';
/** Named by no rule. */
export const EVIL = 'evil.attacker.test';

/** Public-looking addresses, one a name; a test may replace an answer. */
const ADDRESSES: Readonly<Record<string, string>> = {
  [LLM]: '93.184.216.34',
  [OTHER]: '93.184.216.35',
  [GIT]: '93.184.216.36',
  [EVIL]: '93.184.216.66',
};

const PROBE = readFileSync(path.resolve(import.meta.dirname, '../attack/probes/egress.py'), 'utf8');

/** What the origin got. */
export interface Arrived {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

export type Script = (request: Arrived, response: ServerResponse) => void;

export interface EgressOptions {
  /** Further rules behind those of the three hosts. */
  readonly allow?: readonly Readonly<Record<string, unknown>>[];
  /** Replaces keys of the rule for the model's API. */
  readonly llm?: Readonly<Record<string, unknown>>;
  readonly credentials?: Readonly<Record<string, unknown>>;
  readonly network?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Looks for secrets and for the canary in what goes out. */
  readonly dlp?: boolean;
  /** Replaces or adds answers of the resolver; one that is a function is asked each time. */
  readonly names?: Readonly<Record<string, string | (() => string)>>;
  readonly script?: Script;
  readonly upgrade?: (request: IncomingMessage, socket: Duplex) => void;
}

/**
 * A sandbox whose policy looks inside TLS, and the one local origin that every address leads to. The model's API is pinned to a
 * credential; everything the origin got is kept.
 */
export class EgressBox extends AttackBox implements AsyncDisposable {
  /** The real key of the model's API: on the host only. */
  readonly secret = `sk-ant-api03-${randomBytes(36).toString('hex')}`;
  readonly arrived: Arrived[] = [];
  readonly dialled: string[] = [];
  readonly asked: string[] = [];
  /** All bytes that came out of TLS at the origin. */
  received = '';
  readonly #options: EgressOptions;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(tier: AttackTier, options: EgressOptions = {}) {
    super(tier);
    this.#options = options;
  }

  /** The policy, as an object. */
  egressPolicy(): Record<string, unknown> {
    const { llm, allow, network, credentials, dlp } = this.#options;
    return {
      version: 1,
      network: {
        trust: [path.join(this.base, 'ca.pem')],
        ...(dlp === true ? { dlp: { canaries: [this.canary] } } : {}),
        ...network,
        allow: [
          { id: 'llm', host: LLM, preset: 'llm-api', credential: 'LLM', ...llm },
          { id: 'other', host: OTHER, paths: ['/**'] },
          { id: 'git', host: GIT, preset: 'git-read' },
          ...(allow ?? []),
        ],
      },
      credentials: { LLM: { from: 'env:LLM_API_KEY', header: 'x-api-key' }, ...credentials },
    };
  }

  /** Starts a sandbox; several of one box share the origin. */
  async create(more: SandboxOptions = {}): Promise<Sandbox> {
    const port = await this.#listen();
    // JSON is YAML; `trust` may stand in the user's own policy only.
    this.policy(JSON.stringify(this.egressPolicy()));
    return Sandbox.create({
      workspace: this.workspace,
      tier: policyTier(this.tier),
      hostEnv: this.env({ LLM_API_KEY: this.secret, ...this.#options.env }),
      transport: {
        resolver: { resolve: (name) => this.#resolve(name) },
        dialler: { dial: (address) => this.#dial(address, port) },
      },
      ...more,
    });
  }

  /** Runs a probe (prelude.py and egress.py before it) in a sandbox of its own. */
  async probe(script: string, more: SandboxOptions = {}): Promise<BoxResult> {
    await using sandbox = await this.create(more);
    return await this.probeIn(sandbox, script);
  }

  async probeIn(sandbox: Sandbox, script: string): Promise<BoxResult> {
    const stdin = pythonProbe(`${PROBE}\n${script}`);
    const result = await sandbox.commands.exec([PYTHON, '-'], { stdin, envs: { CANARY: this.canary } });
    return { code: result.exitCode, signal: null, stdout: result.stdout, stderr: result.stderr };
  }

  /** Records of requests that were refused. */
  refusals(): readonly Record_['data'][] {
    return this.records()
      .filter((record) => record.kind === 'network.request' && record.data['action'] === 'deny')
      .map((record) => record.data);
  }

  /** Every attempt ended as said, each with its record; only the control arrived, with the real key in its place. */
  expectHeld(result: BoxResult, attempts: Readonly<Record<string, string>>): void {
    const seen = outcomes(result);
    const wanted = Object.entries(attempts).map(([name, answer]) => [name, expect.stringContaining(answer)]);
    expect(seen, result.stderr).toMatchObject(Object.fromEntries(wanted));
    this.expectOnlyControl(result);
    const denials = this.records().filter((record) => record.data['action'] === 'deny');
    for (const answer of Object.values(attempts)) {
      const rule = /^\d{3} (.+)$/.exec(answer)?.[1];
      if (rule !== undefined)
        expect(denials.map((record) => record.data['rule'])).toContainEqual(expect.stringContaining(rule));
    }
  }

  expectOnlyControl(result: BoxResult): void {
    expect(outcomes(result)['control'], `${result.stdout}${result.stderr}`).toMatch(/^200 /);
    expect(this.arrived.map((one) => `${one.method} ${one.url}`)).toEqual(['POST /v1/messages']);
    expect(this.arrived[0]?.headers['x-api-key']).toBe(this.secret);
    expect(this.received).toContain('POST /v1/messages HTTP/1.1\r\n');
    expect(result.stdout).not.toContain(this.secret);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server?.close();
    await Promise.resolve();
    this[Symbol.dispose]();
  }

  async #listen(): Promise<number> {
    this.#server ??= await this.#serve();
    const address: AddressInfo | string | null = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the origin does not listen');
    return address.port;
  }

  async #serve(): Promise<Server> {
    const http = createHttp({ insecureHTTPParser: true }, (request, response) => {
      void this.#answer(request, response);
    });
    const { upgrade } = this.#options;
    if (upgrade !== undefined) http.on('upgrade', upgrade);
    const server = createTls(makeCertificate(this.base), (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
      http.emit('connection', socket);
      // After the server's own listeners: the parser would take the socket's handle over, past a listener from before.
      socket.on('data', (chunk: Buffer) => (this.received += chunk.toString('latin1')));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(Buffer.from(chunk));
    } catch {
      // Cut on its way: it did not arrive.
      return;
    }
    const { method = '', url = '', headers } = request;
    const arrived = { method, url, headers, body: Buffer.concat(chunks) };
    this.arrived.push(arrived);
    if (this.#options.script === undefined) response.end('the origin');
    else this.#options.script(arrived, response);
  }

  #resolve(name: string): Promise<readonly string[]> {
    this.asked.push(name);
    const found = this.#options.names?.[name] ?? ADDRESSES[name];
    if (found === undefined) return Promise.reject(new Error('no such name'));
    return Promise.resolve([typeof found === 'function' ? found() : found]);
  }

  async #dial(address: string, port: number): Promise<Socket> {
    this.dialled.push(address);
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    await once(socket, 'connect');
    return socket;
  }
}

/** A CA that is not the sandbox's, and a certificate for all names of the tests. */
function makeCertificate(dir: string): { readonly key: string; readonly cert: string } {
  const file = (name: string): string => path.join(dir, name);
  const make = (...more: readonly string[]): void => {
    const words = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
    ];
    const done = spawnSync('openssl', [...words, ...more], { encoding: 'utf8' });
    expect(done.status, done.stderr).toBe(0);
  };
  const names = [...Object.keys(ADDRESSES), '*.wild.test'].map((name) => `DNS:${name}`).join(',');
  make('-keyout', file('ca.key'), '-out', file('ca.pem'), '-subj', '/CN=Origin CA');
  const signed = ['-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-addext', `subjectAltName=${names}`];
  make('-keyout', file('leaf.key'), '-out', file('leaf.pem'), '-subj', '/CN=origin', ...signed);
  return { key: readFileSync(file('leaf.key'), 'utf8'), cert: readFileSync(file('leaf.pem'), 'utf8') };
}
