import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import type { AgentExit } from '../../agent/contract.ts';
import type { KeptChunk, OutputCursor } from '../../agent/kept-output.ts';
import { deferred } from '../../agent/process.ts';
import { GloveboxError } from '../../base/errors.ts';
import type { Program, ProgramInfo } from '../handle.ts';
import { isRecord } from '../listing.ts';
import { errorOf, openProgram } from './client.ts';
import type { ProgramRequest } from './contract.ts';
import { linesOf, sendLine, stdinLines, type ProgramLine } from './program-lines.ts';

/** A background command that the owner of the sandbox holds, seen from another process. @throws E_USAGE when there is none with that number, E_SANDBOX_CLOSED */
export async function reachProgram(path: string, request: ProgramRequest): Promise<Program> {
  const { socket, value } = await openProgram(path, request);
  const facts = isRecord(value) ? value : {};
  const info = readProgram(facts['program']);
  const start = readCursor(facts['start']);
  if (info === undefined || start === undefined) {
    socket.destroy();
    throw new GloveboxError('E_PROTOCOL', { what: 'the owner of the sandbox answered with something else' });
  }
  return new Distant(socket, info, start).program(request.cursor ?? start);
}

/** Says something to a command of the owner's without reading it; resolves when it was taken. @throws E_USAGE, E_SANDBOX_CLOSED */
export async function tellProgram(
  path: string,
  of: Pick<ProgramRequest, 'pid' | 'pty'>,
  lines: readonly ProgramLine[],
): Promise<void> {
  const { socket } = await openProgram(path, { ask: 'program', ...of, silent: true });
  try {
    for (const line of lines) await sendLine(socket, line);
    let left = lines.length;
    for await (const { taken } of linesOf(socket)) if (taken === true && --left === 0) return;
    throw new GloveboxError('E_SANDBOX_LOST', { what: 'the owner of the sandbox hung up' });
  } finally {
    socket.destroy();
  }
}

/** One connection about one command. */
class Distant {
  readonly #socket: Socket;
  readonly #info: ProgramInfo;
  readonly #start: OutputCursor;
  readonly #exit = deferred<AgentExit>();
  readonly #taken: (() => void)[] = [];

  constructor(socket: Socket, info: ProgramInfo, start: OutputCursor) {
    this.#socket = socket;
    this.#info = info;
    this.#start = start;
  }

  program(from: Partial<OutputCursor>): Program {
    const output = this.#output({ ...this.#start, ...from });
    const tell = (line: ProgramLine): void => void sendLine(this.#socket, line);
    const { startedAt, ...facts } = this.#info;
    return {
      ...facts,
      // Moments are counted from the start of each process.
      startedAt: performance.now() - (Date.now() - startedAt),
      process: {
        stdin: this.#stdin(),
        exit: this.#exit.promise,
        kill: (signal) => tell({ signal }),
        resize: (rows, cols) => tell({ rows, cols }),
      },
      kept: { start: this.#start, read: (_from, options) => this.#until(output, options?.signal) },
    };
  }

  /** What the owner says, until the end; the connection is gone afterwards. */
  async *#output(at: { stdout: number; stderr: number }): AsyncGenerator<KeptChunk, void, undefined> {
    try {
      for await (const line of linesOf(this.#socket)) {
        if (line['taken'] === true) this.#taken.shift()?.();
        if (isRecord(line['error'])) throw errorOf(line['error']);
        if (isExit(line['exit'])) return this.#exit.resolve({ ...NO_EXIT, ...line['exit'] });
        const found = dataOf(line);
        if (found === undefined) continue;
        yield { ...found, offset: at[found.channel] };
        at[found.channel] += found.data.length;
      }
      throw new GloveboxError('E_SANDBOX_LOST', { what: 'the owner of the sandbox hung up' });
    } catch (error) {
      this.#exit.reject(error instanceof Error ? error : new Error(String(error)));
      throw error;
    } finally {
      this.#socket.destroy();
      for (const taken of this.#taken.splice(0)) taken();
    }
  }

  async *#until(
    output: AsyncGenerator<KeptChunk, void, undefined>,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<KeptChunk, void, undefined> {
    const leave = (): void => void this.#socket.destroy();
    signal?.addEventListener('abort', leave, { once: true });
    try {
      yield* output;
    } finally {
      signal?.removeEventListener('abort', leave);
    }
  }

  #stdin(): Writable {
    const send = async (lines: readonly ProgramLine[], done: () => void): Promise<void> => {
      for (const line of lines) {
        const taken = new Promise<void>((resolve) => this.#taken.push(resolve));
        await sendLine(this.#socket, line);
        await taken;
      }
      done();
    };
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => void send(stdinLines(chunk), done),
      final: (done) => void send([{ eof: true }], done),
    });
  }
}

function dataOf(line: Readonly<Record<string, unknown>>): Omit<KeptChunk, 'offset'> | undefined {
  for (const channel of ['stdout', 'stderr'] as const) {
    const text = line[channel];
    if (typeof text === 'string') return { channel, data: Buffer.from(text, 'base64') };
  }
  return undefined;
}

/** What an exit leaves out when it is written as JSON. */
const NO_EXIT = { signal: undefined, refused: undefined };

const isExit = (value: unknown): value is AgentExit => isRecord(value) && Number.isInteger(value['status']);

function readCursor(value: unknown): OutputCursor | undefined {
  if (!isRecord(value)) return undefined;
  const { stdout, stderr } = value;
  return typeof stdout === 'number' && typeof stderr === 'number' ? { stdout, stderr } : undefined;
}

/** A command of the owner's list; undefined for anything else. */
export function readProgram(value: unknown): ProgramInfo | undefined {
  if (!isRecord(value)) return undefined;
  const { pid, cmd, args, envs, cwd, tag, pty, startedAt } = value;
  if (typeof pid !== 'number' || typeof cmd !== 'string' || typeof cwd !== 'string') return undefined;
  if (!Array.isArray(args) || !isRecord(envs) || typeof startedAt !== 'number') return undefined;
  return {
    pid,
    cmd,
    cwd,
    args: args.map(String),
    envs: Object.fromEntries(Object.entries(envs).map(([name, one]) => [name, String(one)])),
    ...(typeof tag === 'string' ? { tag } : {}),
    pty: pty === true,
    startedAt,
  };
}
