import { chmodSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { isGloveboxError } from '../../base/errors.ts';
import {
  ATTACH_WORD_MS,
  type AttachAnswer,
  type AttachOwner,
  type AttachRequest,
  type ProgramRequest,
} from './contract.ts';
import { programInfo } from '../handle.ts';
import { isRecord } from '../listing.ts';
import { readLine, writeLine } from './line.ts';
import { showProgram } from './program-server.ts';

export interface AttachServerInput {
  /** In a directory of mode 0700. */
  readonly path: string;
  readonly owner: AttachOwner;
  /** Speaks the agent's protocol with the client from here on. */
  readonly session: (client: Socket) => Promise<void>;
}

/** Answers other processes of this user for one sandbox, until it is closed. */
export class AttachServer {
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(input: AttachServerInput) {
    this.#server = createServer((socket) => {
      this.#open.add(socket);
      // Whoever attached must not keep the owner's process alive, no more than the socket itself.
      socket.unref();
      socket.on('error', () => socket.destroy());
      socket.on('close', () => this.#open.delete(socket));
      void serve(socket, input, () => this.#open.delete(socket));
    });
    this.#server.unref();
  }

  static async listen(input: AttachServerInput): Promise<AttachServer> {
    const server = new AttachServer(input);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject);
      server.#server.listen(input.path, resolve);
    });
    chmodSync(input.path, 0o600);
    return server;
  }

  /** Hangs up on everybody but those who wait for the end itself; the socket's name is gone then. */
  close(): void {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }
}

async function serve(socket: Socket, input: AttachServerInput, waitsForEnd: () => void): Promise<void> {
  try {
    const request = readRequest(await readLine(socket, ATTACH_WORD_MS));
    if (request === undefined) return answer(socket, refusal('E_USAGE', 'this is no request'));
    if (request.ask === 'kill') waitsForEnd();
    if (request.ask === 'program') return await program(socket, input.owner, request);
    if (request.ask !== 'session') return answer(socket, await outcome(request, input.owner));
    writeLine(socket, { ok: true, value: input.owner.info() } satisfies AttachAnswer);
    await input.session(socket);
  } catch {
    socket.destroy();
  }
}

async function program(socket: Socket, owner: AttachOwner, request: ProgramRequest): Promise<void> {
  const found = owner.programs().find(({ pid, pty }) => pid === request.pid && pty === request.pty);
  if (found === undefined)
    return answer(socket, refusal('E_USAGE', `no command with process number ${request.pid}`));
  const value = { program: programInfo(found), start: found.kept.start };
  writeLine(socket, { ok: true, value } satisfies AttachAnswer);
  await showProgram(socket, found, request);
}

async function outcome(request: AttachRequest, owner: AttachOwner): Promise<AttachAnswer> {
  try {
    return { ok: true, value: (await act(request, owner)) ?? null };
  } catch (error) {
    if (isGloveboxError(error)) return refusal(error.code, error.what);
    return refusal('E_INTERNAL', String(error));
  }
}

function act(request: AttachRequest, owner: AttachOwner): unknown {
  switch (request.ask) {
    case 'kill':
      return owner.kill();
    case 'set-timeout':
      return owner.setTimeout(request.timeoutMs);
    case 'pause':
      return owner.pause();
    case 'resume':
      return owner.resume();
    case 'metrics':
      return owner.metrics();
    case 'programs':
      return owner.programs().map(programInfo);
    default:
      return owner.info();
  }
}

function answer(socket: Socket, value: AttachAnswer): void {
  writeLine(socket, value);
  socket.end();
}

function refusal(code: string, what: string): AttachAnswer {
  return { ok: false, code, what };
}

/** Requests that have nothing but their name. */
const PLAIN = ['session', 'info', 'kill', 'pause', 'resume', 'metrics', 'programs'] as const;

function readRequest(value: unknown): AttachRequest | undefined {
  if (typeof value !== 'object' || value === null || !('ask' in value)) return undefined;
  if (value.ask === 'set-timeout') {
    return 'timeoutMs' in value && typeof value.timeoutMs === 'number'
      ? { ask: 'set-timeout', timeoutMs: value.timeoutMs }
      : undefined;
  }
  if (value.ask === 'program') return readProgramRequest(value);
  const ask = PLAIN.find((name) => name === value.ask);
  return ask === undefined ? undefined : { ask };
}

function readProgramRequest(value: object): ProgramRequest | undefined {
  const { pid, pty, cursor, silent }: Readonly<Record<string, unknown>> = { ...value };
  if (typeof pid !== 'number' || typeof pty !== 'boolean') return undefined;
  const from = isRecord(cursor) ? cursor : {};
  const { stdout, stderr } = from;
  return {
    ask: 'program',
    pid,
    pty,
    ...(isRecord(cursor)
      ? {
          cursor: {
            ...(typeof stdout === 'number' ? { stdout } : {}),
            ...(typeof stderr === 'number' ? { stderr } : {}),
          },
        }
      : {}),
    ...(silent === true ? { silent } : {}),
  };
}
