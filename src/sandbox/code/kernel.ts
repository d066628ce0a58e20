import type { AgentExit, AgentProcess } from '../../agent/contract.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { SIGNAL_NUMBERS } from '../../base/exit-codes.ts';
import { CODE_CAPS } from './caps.ts';
import type { Collector } from './collect.ts';
import type { CodeContextOptions, CodeLanguage } from './contract.ts';
import { KernelFrames, type KernelFrame } from './frames.ts';
import { KERNELS, readKernel, type KernelKind } from './kernels.ts';
import { MarkedStream } from './marks.ts';

/** Starts a program inside with a control channel on descriptor 3. */
export type StartKernel = (input: {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}) => AgentProcess;

export interface KernelInput {
  readonly cwd: string;
  readonly envs: Readonly<Record<string, string>>;
  readonly start: StartKernel;
  readonly onBackground?: CodeContextOptions['onBackground'];
}

interface Cell {
  readonly id: string;
  readonly collector: Collector;
  readonly answered: () => void;
  readonly failed: (error: Error) => void;
  state: 'sent' | 'started' | 'done';
  /** Somebody repeats its interrupt. */
  repeated: boolean;
}

/** One kernel process and what it is busy with. */
export class Kernel {
  readonly #process: AgentProcess;
  readonly #kind: KernelKind;
  readonly #frames = new KernelFrames();
  readonly #stdout: MarkedStream;
  readonly #stderr: MarkedStream;
  /** Resolves when the process is gone and everything it wrote was read. */
  readonly #gone: Promise<AgentExit>;
  #cell: Cell | undefined;
  #ready: (() => void) | undefined;
  #interruptWanted = false;
  alive = true;
  /** Why somebody ended it. */
  ended: string | undefined;

  private constructor(kind: KernelKind, process: AgentProcess, { onBackground }: KernelInput) {
    this.#kind = kind;
    this.#process = process;
    this.#stdout = this.#output('stdout', onBackground);
    this.#stderr = this.#output('stderr', onBackground);
    const read = Promise.all([
      this.#read(process.stdout, (data) => this.#stdout.push(data)),
      this.#read(process.stderr, (data) => this.#stderr.push(data)),
      this.#read(process.control, (data) => this.#accept(data)),
    ]);
    this.#gone = process.exit
      .then(async (exit) => {
        // Whatever it started may hold its output open for as long as it likes.
        await Promise.race([read, later(CODE_CAPS.markMs)]);
        return exit;
      })
      .finally(() => {
        this.alive = false;
      });
    this.#gone.catch(() => undefined);
  }

  /** @throws E_CODE_LANGUAGE when the program is not there, E_CODE_KERNEL when it does not answer */
  static async start(language: CodeLanguage, input: KernelInput): Promise<Kernel> {
    const kind = KERNELS[language];
    const source = readKernel(kind);
    const process = input.start({ argv: kind.argv, cwd: input.cwd, env: input.envs });
    const kernel = new Kernel(kind, process, input);
    try {
      await process.started;
      await kernel.#open(source);
      return kernel;
    } catch (error) {
      await kernel.end();
      throw languageError(error, language, kind);
    }
  }

  /**
   * Runs a cell. Resolves when it is over: with nothing when the kernel lives on, with its exit when it does not.
   *
   * @throws E_CODE_KERNEL when it speaks garbage
   */
  async run(id: string, code: string, collector: Collector): Promise<AgentExit | undefined> {
    const marks = Promise.all([this.#stdout.until(id), this.#stderr.until(id)]);
    this.#interruptWanted = false;
    const answered = new Promise<void>((resolve, reject) => {
      this.#cell = { id, collector, answered: resolve, failed: reject, state: 'sent', repeated: false };
    });
    try {
      this.#process.stdin.write(this.#kind.cell(id, code));
      const exit = await Promise.race([answered, this.#gone]);
      if (exit === undefined) await Promise.race([marks, this.#gone, later(CODE_CAPS.markMs)]);
      this.#stdout.finish();
      this.#stderr.finish();
      return exit ?? (this.alive ? undefined : await this.#gone);
    } finally {
      this.#cell = undefined;
    }
  }

  /** Interrupts the cell, once it has begun: before, a signal could hit the kernel's own reading. */
  interrupt(): void {
    this.#interruptWanted = true;
    if (this.#cell?.state !== 'started') return;
    this.#signal();
    if (this.#kind.again !== undefined) void this.#repeat(this.#cell, this.#kind.again);
  }

  async end(why?: string): Promise<void> {
    this.ended ??= why;
    this.#process.kill(SIGNAL_NUMBERS['SIGKILL'] ?? 9);
    await this.#gone.catch(() => undefined);
    this.#process.abandon();
  }

  #signal(): void {
    this.#process.kill(SIGNAL_NUMBERS['SIGINT'] ?? 2);
    if (this.#kind.interrupt !== undefined) this.#process.stdin.write(this.#kind.interrupt);
  }

  /** Until the cell has heeded it; one that does not is ended by whoever set it a time. */
  async #repeat(cell: Cell, again: Buffer): Promise<void> {
    if (cell.repeated) return;
    cell.repeated = true;
    for (let count = 0; count < CODE_CAPS.repeats; count++) {
      await later(CODE_CAPS.repeatMs);
      if (cell.state === 'done' || this.#cell !== cell || !this.alive) return;
      this.#signal();
      this.#process.stdin.write(again);
    }
  }

  async #open(source: Buffer): Promise<void> {
    const answered = new Promise<void>((resolve) => {
      this.#ready = resolve;
    });
    // What the interpreter itself said at its start is nobody's output.
    const ready = Promise.all([answered, this.#stdout.until('-'), this.#stderr.until('-')]).then(
      () => undefined,
    );
    this.#process.stdin.write(this.#kind.opening(source));
    const late = later(CODE_CAPS.startMs).then(() => 'late' as const);
    const first = await Promise.race([ready, this.#gone, late]);
    this.#ready = undefined;
    if (first === undefined) return;
    const why =
      first === 'late' ? `not within ${CODE_CAPS.startMs} ms` : `it ended with status ${first.status}`;
    throw new GloveboxError('E_CODE_KERNEL', { what: 'the kernel did not answer', why });
  }

  #output(name: 'stdout' | 'stderr', onBackground: KernelInput['onBackground']): MarkedStream {
    const decoder = new TextDecoder();
    return new MarkedStream((data) => {
      if (this.#cell !== undefined) return this.#cell.collector.output(name, data);
      // What an interpreter says of itself at its start is nobody's.
      if (this.#ready === undefined) onBackground?.(name, decoder.decode(data, { stream: true }));
    });
  }

  async #read(stream: AsyncIterable<unknown>, take: (data: Buffer) => void): Promise<void> {
    try {
      for await (const data of stream) if (Buffer.isBuffer(data)) take(data);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #accept(data: Buffer): void {
    for (const frame of this.#frames.push(data)) this.#take(frame);
  }

  /** A frame that fits nothing is old: a cell that was given up may still have sent it. */
  #take({ kind, id, body }: KernelFrame): void {
    if (kind === 'ready') return this.#ready?.();
    const cell = this.#cell;
    if (cell === undefined || id !== cell.id) return;
    if (kind === 'started') {
      cell.state = 'started';
      if (this.#interruptWanted) this.interrupt();
    } else if (kind === 'result') {
      cell.collector.result(body);
    } else if (kind === 'done') {
      cell.state = 'done';
      cell.collector.done(body);
      cell.answered();
    }
  }

  #fail(error: Error): void {
    this.alive = false;
    this.#cell?.failed(error);
  }
}

/** Does not keep the process alive by itself. */
function later(limitMs: number): Promise<undefined> {
  return new Promise((resolve) => {
    setTimeout(() => resolve(undefined), limitMs).unref();
  });
}

function languageError(error: unknown, language: CodeLanguage, kind: KernelKind): unknown {
  if (!isGloveboxError(error) || !error.code.startsWith('E_COMMAND_NOT_')) return error;
  return new GloveboxError('E_CODE_LANGUAGE', {
    what: `the sandbox has no ${kind.argv[0]} for ${language}`,
    next: `Use a base system that has it (Debian package ${kind.debian}), or make it visible with \`read\`.`,
    cause: error,
  });
}
