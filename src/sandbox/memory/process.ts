import { once } from 'node:events';
import { constants } from 'node:os';
import { PassThrough, type Duplex } from 'node:stream';
import type { AgentExit, AgentProcess, ExecSpec } from '../../agent/contract.ts';
import type { AgentFileAccess, SandboxProcess } from '../../agent/files-contract.ts';
import { deferred, signalPayload } from '../../agent/process.ts';
import { commandError } from '../../agent/start-error.ts';
import type { GloveboxError } from '../../base/errors.ts';

/** What commands share with their sandbox. */
export interface Surroundings {
  readonly files: AgentFileAccess;
  /** Resolves at once, or when a pause is over. */
  readonly awake: () => Promise<void>;
  readonly listen: (port: number, accept: (connection: Duplex) => void) => () => void;
}

export interface ProcessInput {
  readonly id: number;
  readonly pid: number;
  readonly spec: ExecSpec;
  readonly argv: readonly string[];
  readonly surroundings: Surroundings;
  /** Absent: there is no such program. */
  readonly play: Play | undefined;
  readonly gone: () => void;
}

/** Plays a program with these streams, and answers its exit code. A signal that it does not take ends it. */
export interface Play {
  run(process: MemoryProcess): Promise<number>;
  /** True when the program handles this signal itself. */
  takes?(signal: number): boolean;
}

/** Signals that end nothing by default (signal(7)): 0, CHLD, CONT, STOP, TSTP, URG, WINCH. */
const HARMLESS: ReadonlySet<number> = new Set([0, 17, 18, 19, 20, 23, 28]);

const USAGE = { userUs: 0, systemUs: 0, maxRssKib: 0 };

/** A command of the double. Its streams have the backpressure of real ones. */
export class MemoryProcess implements AgentProcess {
  readonly id: number;
  readonly stdin: PassThrough = new PassThrough();
  readonly stdout: PassThrough = new PassThrough();
  readonly stderr: PassThrough = new PassThrough();
  readonly control: PassThrough = new PassThrough();
  /** Where the program writes; what it wrote goes out while nothing is paused. */
  readonly own: { readonly stdout: PassThrough; readonly stderr: PassThrough } = {
    stdout: new PassThrough(),
    stderr: new PassThrough(),
  };
  readonly spec: ExecSpec;
  readonly surroundings: Surroundings;
  readonly aborted: AbortController = new AbortController();
  readonly #input: ProcessInput;
  readonly #started = deferred<number>();
  readonly #exit = deferred<AgentExit>();
  readonly #startedMs = Date.now();
  readonly #undo: (() => void)[] = [];
  #resized: ((size: { readonly cols: number; readonly rows: number }) => void) | undefined;
  #over = false;

  constructor(input: ProcessInput) {
    this.#input = input;
    this.id = input.id;
    this.spec = input.spec;
    this.surroundings = input.surroundings;
    for (const stream of [this.stdin, this.stdout, this.stderr, this.control])
      stream.on('error', () => undefined);
    if (input.spec.stdio?.[0] === 'null') this.stdin.end();
    void this.#live();
  }

  get started(): Promise<number> {
    return this.#started.promise;
  }

  get exit(): Promise<AgentExit> {
    return this.#exit.promise;
  }

  kill(signal: number): void {
    signalPayload(signal, 0);
    if (HARMLESS.has(signal) || this.#input.play?.takes?.(signal) === true) return;
    this.#end({ status: 128 + signal, signal });
  }

  resize(rows: number, cols: number): void {
    this.#resized?.({ cols, rows });
  }

  abandon(): void {
    this.kill(constants.signals.SIGKILL);
  }

  /** The sandbox is gone, and this with it. */
  lose(reason: GloveboxError): void {
    if (this.#over) return;
    this.#close();
    this.#started.reject(reason);
    this.#exit.reject(reason);
    this.#endOutput();
  }

  follow(resized: (size: { readonly cols: number; readonly rows: number }) => void): void {
    this.#resized = resized;
  }

  /** Undone at the command's end. */
  undo(step: () => void): void {
    if (this.#over) step();
    else this.#undo.push(step);
  }

  /** As /proc would show it. */
  describe(): SandboxProcess {
    const { argv, id, pid } = this.#input;
    const name = (argv[0] ?? '').split('/').at(-1) ?? '';
    const common = { state: 'S', uid: 1000, rssBytes: 0, cpuUs: 0, argvCut: false };
    return {
      ...common,
      pid,
      ppid: 1,
      session: pid,
      stream: id,
      name: name.slice(0, 15),
      argv,
      startedMs: this.#startedMs,
    };
  }

  async #live(): Promise<void> {
    await this.surroundings.awake();
    if (this.#over) return;
    const { play, pid, spec } = this.#input;
    const errno = await this.#badStart();
    if (this.#over) return;
    if (errno !== undefined) {
      const refused = { stage: 'chdir', errno, cwd: spec.cwd };
      return this.#end({ status: 125, signal: undefined, refused });
    }
    if (play === undefined) {
      const refused = { stage: 'exec', errno: constants.errno.ENOENT };
      return this.#end({ status: 127, signal: undefined, refused });
    }
    this.#started.resolve(pid);
    const passed = Promise.all([this.#pass('stdout'), this.#pass('stderr')]);
    try {
      // Streams of a command that was killed fail under its hands.
      const [status] = await Promise.all([play.run(this).finally(() => this.#finishOutput()), passed]);
      this.#end({ status, signal: undefined });
    } catch {
      this.#end({ status: 1, signal: undefined });
    }
  }

  /** The errno of a start directory that is none. */
  async #badStart(): Promise<number | undefined> {
    const { files } = this.surroundings;
    const { ENOENT, ENOTDIR } = constants.errno;
    const entry = await files.stat(this.spec.cwd, { follow: true }).catch(() => undefined);
    if (entry === undefined) return ENOENT;
    return entry.type === 'dir' ? undefined : ENOTDIR;
  }

  #finishOutput(): void {
    this.own.stdout.end();
    this.own.stderr.end();
  }

  async #pass(name: 'stdout' | 'stderr'): Promise<void> {
    const to = this[name];
    for await (const chunk of this.own[name]) {
      await this.surroundings.awake();
      if (this.#over) return;
      if (!to.write(chunk)) await Promise.race([once(to, 'drain'), this.exit.catch(() => undefined)]);
    }
  }

  #end(how: Pick<AgentExit, 'status' | 'signal'> & Partial<Pick<AgentExit, 'refused'>>): void {
    if (this.#over) return;
    this.#close();
    const exit: AgentExit = { ...USAGE, refused: undefined, ...how };
    const refusal = commandError(exit, 'the command');
    if (refusal !== undefined) this.#started.reject(refusal);
    this.#exit.resolve(exit);
    this.#endOutput();
  }

  #close(): void {
    this.#over = true;
    this.aborted.abort();
    for (const step of this.#undo.splice(0)) step();
    this.#input.gone();
  }

  #endOutput(): void {
    for (const stream of [this.stdout, this.stderr, this.control]) stream.end();
    for (const stream of [this.stdin, this.own.stdout, this.own.stderr]) stream.destroy();
  }
}
