import { randomBytes } from 'node:crypto';
import type { AgentExit } from '../../agent/contract.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { signalName } from '../../base/exit-codes.ts';
import { newId } from '../../base/ids.ts';
import { CODE_CAPS } from './caps.ts';
import { Collector, type Ending } from './collect.ts';
import type {
  CodeContext,
  CodeContextOptions,
  CodeLanguage,
  Execution,
  ExecutionError,
  RunCodeOptions,
} from './contract.ts';
import { Kernel, type StartKernel } from './kernel.ts';

export interface LiveContextInput {
  readonly language: CodeLanguage;
  readonly cwd: string;
  readonly envs: Readonly<Record<string, string>>;
  readonly start: StartKernel;
  readonly onBackground?: CodeContextOptions['onBackground'];
  /** Bytes that one cell may write and show; default without end, of which a part is kept. */
  readonly outputBytes?: number;
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
    await kernel?.end('the context was restarted or removed');
  }

  async remove(): Promise<void> {
    this.#removed = true;
    await this.restart();
  }

  async #runNow(code: string, options: RunCodeOptions): Promise<Execution> {
    this.#refuse(code);
    refuseAborted(options.signal);
    const kernel = await this.#ready();
    refuseAborted(options.signal);
    this.#count += 1;
    const count = this.#count;
    const timer = new Deadline(kernel, options);
    const { outputBytes } = this.#input;
    const collector = new Collector({
      ...options,
      ...(outputBytes === undefined
        ? {}
        : { most: { bytes: outputBytes, exceeded: () => timer.stop('output') } }),
    });
    const ending = await this.#cell(kernel, code, { collector, timer });
    if (ending.contextLost && this.#kernel === kernel) this.#kernel = undefined;
    return collector.execution(count, ending);
  }

  async #cell(
    kernel: Kernel,
    code: string,
    { collector, timer }: { readonly collector: Collector; readonly timer: Deadline },
  ): Promise<Ending> {
    try {
      const exit = await kernel.run(randomBytes(16).toString('hex'), code, collector);
      return endingOf(timer, exit, kernel.ended);
    } catch (error) {
      await kernel.end();
      if (!isGloveboxError(error) || error.code !== 'E_CODE_KERNEL') throw error;
      return {
        timedOut: timer.stopped === 'timeout',
        contextLost: true,
        error: fault('KernelError', error.message),
      };
    } finally {
      timer.clear();
    }
  }

  async #ready(): Promise<Kernel> {
    this.#refuseRemoved();
    if (this.#kernel?.alive === true) return this.#kernel;
    const kernel = await Kernel.start(this.language, this.#input);
    if (this.#removed) await kernel.end();
    this.#refuseRemoved();
    this.#kernel = kernel;
    return kernel;
  }

  #refuseRemoved(): void {
    if (!this.#removed) return;
    throw new GloveboxError('E_USAGE', { what: `the code context ${this.id} was removed` });
  }

  /** What no kernel could run. */
  #refuse(code: string): void {
    if (Buffer.byteLength(code) > CODE_CAPS.codeBytes) {
      throw new GloveboxError('E_USAGE', {
        what: `the code is larger than ${CODE_CAPS.codeBytes} bytes`,
        next: 'Write large data to a file with `sandbox.files.write` and read it in the code.',
      });
    }
    if (this.language !== 'bash' || !code.includes('\0')) return;
    throw new GloveboxError('E_USAGE', {
      what: 'the code holds a NUL character, which bash cannot read',
      next: "Write it as $'\\0' in printf, or send the data in a file.",
    });
  }
}

type StopReason = 'timeout' | 'abort' | 'output';

/** Interrupts a cell when its time is over or its caller aborts, and ends a kernel that does not heed it. */
class Deadline {
  readonly #kernel: Kernel;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #signal: AbortSignal | undefined;
  readonly limitMs: number;
  /** The first reason counts. */
  stopped: StopReason | undefined;

  constructor(kernel: Kernel, options: RunCodeOptions) {
    this.#kernel = kernel;
    this.#signal = options.signal;
    this.limitMs = options.timeoutMs ?? CODE_CAPS.defaultTimeoutMs;
    if (this.limitMs > 0) this.#after(this.limitMs, () => this.stop('timeout'));
    this.#signal?.addEventListener('abort', this.#aborted, { once: true });
  }

  stop(reason: StopReason): void {
    this.stopped ??= reason;
    this.#kernel.interrupt();
    this.#after(CODE_CAPS.interruptMs, () => void this.#kernel.end());
  }

  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#signal?.removeEventListener('abort', this.#aborted);
  }

  readonly #aborted = (): void => this.stop('abort');

  #after(limitMs: number, work: () => void): void {
    this.#timers.push(setTimeout(work, limitMs));
  }
}

/** `exit` is how the kernel ended, when it did; `why` the reason when that was ours. */
function endingOf(timer: Deadline, exit: AgentExit | undefined, why: string | undefined): Ending {
  const contextLost = exit !== undefined;
  const timedOut = timer.stopped === 'timeout';
  const known = { timedOut, contextLost };
  if (timedOut)
    return { ...known, error: fault('TimeoutError', `the cell ran longer than ${timer.limitMs} ms`) };
  if (timer.stopped === 'abort') return { ...known, error: fault('AbortError', 'the caller aborted') };
  if (timer.stopped === 'output') {
    const error = fault('OutputLimitError', 'the cell wrote more than `limits.output` lets it');
    return { ...known, limit: 'output', error };
  }
  if (exit === undefined) return known;
  const ended = { ...known, exitCode: exit.status };
  if (why !== undefined) return { ...ended, error: fault('ContextEnded', why) };
  if (exit.signal === undefined) return ended;
  const value = `the interpreter was ended by ${signalName(exit.signal)}; what the context held is gone`;
  return { ...ended, error: fault('KernelDied', value) };
}

function fault(name: string, value: string): ExecutionError {
  return { name, value, traceback: `${name}: ${value}` };
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new GloveboxError('E_ABORTED', { what: 'the cell was aborted', cause: signal.reason });
}
