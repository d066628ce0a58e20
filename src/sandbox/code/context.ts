import { randomBytes } from 'node:crypto';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { CODE_CAPS } from './caps.ts';
import { Collector, type Ending } from './collect.ts';
import type { CodeContext, CodeLanguage, Execution, ExecutionError, RunCodeOptions } from './contract.ts';
import { Kernel, type StartKernel } from './kernel.ts';

export interface LiveContextInput {
  readonly language: CodeLanguage;
  readonly cwd: string;
  readonly envs: Readonly<Record<string, string>>;
  readonly start: StartKernel;
}

/** A context with its kernel: cells run one after another; a kernel that was lost is started anew by the next one. */
export class LiveContext implements CodeContext {
  readonly id = newId('ctx');
  readonly language: CodeLanguage;
  readonly cwd: string;
  readonly #input: LiveContextInput;
  #kernel: Kernel | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #count = 0;
  #removed = false;

  constructor(input: LiveContextInput) {
    this.#input = input;
    this.language = input.language;
    this.cwd = input.cwd;
  }

  /** @throws E_CODE_LANGUAGE, E_SANDBOX_LOST, E_ABORTED before the cell has started */
  run(code: string, options: RunCodeOptions): Promise<Execution> {
    const execution = this.#turn.then(() => this.#runNow(code, options));
    this.#turn = execution.catch(() => undefined);
    return execution;
  }

  /** Starts the kernel ahead of its first cell. */
  warm(): Promise<unknown> {
    const ready = this.#turn.then(() => this.#ready());
    this.#turn = ready.catch(() => undefined);
    return ready;
  }

  /** Interrupts the running cell, if there is one. */
  interrupt(): void {
    this.#kernel?.interrupt();
  }

  /** Ends the kernel at once; the next cell starts with nothing. */
  async restart(): Promise<void> {
    const kernel = this.#kernel;
    this.#kernel = undefined;
    await kernel?.end();
  }

  async remove(): Promise<void> {
    this.#removed = true;
    await this.restart();
  }

  async #runNow(code: string, options: RunCodeOptions): Promise<Execution> {
    refuseLarge(code);
    if (options.signal?.aborted === true) throw aborted(options.signal);
    const kernel = await this.#ready();
    this.#count += 1;
    const count = this.#count;
    const collector = new Collector(options);
    const ending = await this.#cell(kernel, code, { collector, options });
    if (ending.contextLost && this.#kernel === kernel) this.#kernel = undefined;
    return collector.execution(count, ending);
  }

  async #cell(
    kernel: Kernel,
    code: string,
    { collector, options }: { readonly collector: Collector; readonly options: RunCodeOptions },
  ): Promise<Ending> {
    const timer = new Deadline(kernel, options);
    try {
      const exit = await kernel.run(randomBytes(16).toString('hex'), code, collector);
      return endingOf(timer, exit, options);
    } catch (error) {
      await kernel.end();
      if (!isGloveboxError(error) || error.code !== 'E_CODE_KERNEL') throw error;
      return {
        timedOut: timer.timedOut,
        contextLost: true,
        error: fault('KernelError', error.message),
      };
    } finally {
      timer.clear();
    }
  }

  async #ready(): Promise<Kernel> {
    if (this.#removed) {
      throw new GloveboxError('E_USAGE', { what: `the code context ${this.id} was removed` });
    }
    const { language, cwd, envs, start } = this.#input;
    if (this.#kernel?.alive !== true) this.#kernel = await Kernel.start(language, { cwd, envs, start });
    return this.#kernel;
  }
}

/** Interrupts a cell when its time is over or its caller aborts, and ends a kernel that does not heed it. */
class Deadline {
  readonly #kernel: Kernel;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #signal: AbortSignal | undefined;
  timedOut = false;
  stopped = false;

  constructor(kernel: Kernel, options: RunCodeOptions) {
    this.#kernel = kernel;
    this.#signal = options.signal;
    const limit = options.timeoutMs ?? CODE_CAPS.defaultTimeoutMs;
    if (limit > 0) {
      this.#after(limit, () => {
        this.timedOut = true;
        this.#stop();
      });
    }
    this.#signal?.addEventListener('abort', this.#stop, { once: true });
  }

  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#signal?.removeEventListener('abort', this.#stop);
  }

  readonly #stop = (): void => {
    this.stopped = true;
    this.#kernel.interrupt();
    this.#after(CODE_CAPS.interruptMs, () => void this.#kernel.end());
  };

  #after(limitMs: number, work: () => void): void {
    this.#timers.push(setTimeout(work, limitMs));
  }
}

function endingOf(timer: Deadline, exit: number | undefined, options: RunCodeOptions): Ending {
  const contextLost = exit !== undefined;
  const { timedOut } = timer;
  const limit = options.timeoutMs ?? CODE_CAPS.defaultTimeoutMs;
  if (timedOut) {
    return {
      timedOut,
      contextLost,
      error: fault('TimeoutError', `the cell ran longer than ${limit} ms`),
    };
  }
  if (timer.stopped) return { timedOut, contextLost, error: fault('AbortError', 'the caller aborted') };
  return { timedOut, contextLost, ...(exit === undefined ? {} : { exitCode: exit }) };
}

function fault(name: string, value: string): ExecutionError {
  return { name, value, traceback: `${name}: ${value}` };
}

function refuseLarge(code: string): void {
  if (Buffer.byteLength(code) <= CODE_CAPS.codeBytes) return;
  throw new GloveboxError('E_USAGE', {
    what: `the code is larger than ${CODE_CAPS.codeBytes} bytes`,
    next: 'Write large data to a file with `sandbox.files.write` and read it in the code.',
  });
}

function aborted(signal: AbortSignal): GloveboxError {
  return new GloveboxError('E_ABORTED', { what: 'the cell was aborted', cause: signal.reason });
}
