import { pipeline, Readable } from 'node:stream';
import type { AgentExit, AgentProcess } from '../agent/contract.ts';
import { commandError } from '../agent/start-error.ts';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';

/** Options of one command. */
export interface CommandOptions {
  /** Directory inside; default the workspace. */
  readonly cwd?: string;
  /** Added to the sandbox's environment. */
  readonly envs?: Readonly<Record<string, string>>;
  /** Written to the command, then its input is closed; true leaves it open for the caller. Default: nothing, closed. */
  readonly stdin?: Uint8Array | string | Readable | AsyncIterable<Uint8Array | string> | boolean;
  /** Milliseconds; then TERM, and KILL after a grace. 0 or absent: none. */
  readonly timeoutMs?: number;
  /** Ends the command when aborted. */
  readonly signal?: AbortSignal;
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
  /** Bytes kept of each stream; the rest is counted and dropped. Default 16 MiB. */
  readonly maxOutputBytes?: number;
}

/** How a command ended. */
export interface CommandResult {
  /** As a shell says it: 128 + n when a signal ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Name of the signal that ended it. */
  readonly signal?: string;
  readonly timedOut: boolean;
  /** True when more was written than was kept. */
  readonly truncated: boolean;
  readonly durationMs: number;
  readonly usage: { readonly userMs: number; readonly systemMs: number; readonly maxRssKib: number };
}

/** A piece of output as it came. */
export interface OutputEvent {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

/** A command that ended with another code than 0. */
export class CommandExitError extends GloveboxError {
  readonly result: CommandResult;

  constructor(command: string, result: CommandResult) {
    const how = result.signal === undefined ? `exit code ${result.exitCode}` : result.signal;
    const last = result.stderr.trimEnd().split('\n').at(-1) ?? '';
    super(result.timedOut ? 'E_TIMEOUT' : 'E_COMMAND_FAILED', {
      what: `${command} ended with ${result.timedOut ? 'its timeout' : how}`,
      ...(last === '' ? {} : { why: last.slice(0, 500) }),
      context: { exitCode: result.exitCode },
    });
    this.name = 'CommandExitError';
    this.result = result;
  }
}

/** Collects a stream up to a cap; the rest is read and dropped so that the command never blocks on us. */
export class Capture {
  readonly #chunks: Uint8Array[] = [];
  readonly #max: number;
  #kept = 0;
  truncated = false;

  constructor(max: number) {
    this.#max = max;
  }

  add(chunk: Uint8Array): void {
    const room = this.#max - this.#kept;
    if (chunk.length > room) this.truncated = true;
    if (room <= 0) return;
    const part = chunk.length > room ? chunk.subarray(0, room) : chunk;
    this.#kept += part.length;
    this.#chunks.push(part);
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

/** A running command: await `wait()`, or iterate over its output as it comes. */
export class Command implements AsyncIterable<OutputEvent>, AsyncDisposable {
  readonly #process: AgentProcess;
  readonly #options: CommandOptions;
  readonly #name: string;
  readonly #stdout: Capture;
  readonly #stderr: Capture;
  readonly #started = performance.now();
  readonly #events: EventQueue<OutputEvent> = new EventQueue();
  readonly #result: Promise<CommandResult>;
  #timedOut = false;
  #iterated = false;

  constructor(name: string, process: AgentProcess, options: CommandOptions) {
    const max = options.maxOutputBytes ?? CAPS.capturedOutputBytes;
    this.#name = name;
    this.#process = process;
    this.#options = options;
    this.#stdout = new Capture(max);
    this.#stderr = new Capture(max);
    this.#result = this.#finish();
    this.#result.catch(() => undefined);
  }

  /** Process number inside. Rejects when the command did not start. */
  get pid(): Promise<number> {
    return this.#process.started;
  }

  /** Open when `stdin: true` was asked for. */
  get stdin(): NodeJS.WritableStream {
    return this.#process.stdin;
  }

  /** Resolves when the command has ended and its output is complete; does not throw for a non-zero code. */
  wait(): Promise<CommandResult> {
    return this.#result;
  }

  /** Signals the command's process group. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#process.kill(SIGNAL_NUMBERS[signal] ?? 9);
  }

  /** Output as it comes, from when the iteration starts. One reader only; while it does not read, the command waits. */
  [Symbol.asyncIterator](): AsyncIterator<OutputEvent> {
    this.#iterated = true;
    return this.#events[Symbol.asyncIterator]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill();
    await this.#result.catch(() => undefined);
  }

  async #finish(): Promise<CommandResult> {
    feedStdin(this.#process, this.#options.stdin);
    const cancel = this.#watch();
    try {
      const [exit] = await Promise.all([this.#process.exit, this.#drain('stdout'), this.#drain('stderr')]);
      const failed = commandError(exit, this.#name);
      if (failed !== undefined) throw failed;
      if (this.#options.signal?.aborted === true) throw aborted(this.#name, this.#options.signal);
      return this.#resultOf(exit);
    } finally {
      cancel();
      this.#events.end();
    }
  }

  async #drain(name: 'stdout' | 'stderr'): Promise<void> {
    const capture = name === 'stdout' ? this.#stdout : this.#stderr;
    const callback = name === 'stdout' ? this.#options.onStdout : this.#options.onStderr;
    const decoder = new TextDecoder();
    for await (const data of this.#process[name] as AsyncIterable<Buffer>) {
      capture.add(data);
      callback?.(decoder.decode(data, { stream: true }));
      if (this.#iterated) await this.#events.push({ stream: name, data });
    }
  }

  /** Starts the timeout and follows the abort signal; answers how to stop both. */
  #watch(): () => void {
    const { timeoutMs, signal } = this.#options;
    const timers: NodeJS.Timeout[] = [];
    const end = (): void => {
      this.kill('SIGTERM');
      timers.push(setTimeout(() => this.kill('SIGKILL'), CAPS.graceMs).unref());
    };
    if (timeoutMs !== undefined && timeoutMs > 0) {
      timers.push(
        setTimeout(() => {
          this.#timedOut = true;
          end();
        }, timeoutMs),
      );
    }
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted === true) end();
    return () => {
      for (const timer of timers) clearTimeout(timer);
      signal?.removeEventListener('abort', end);
    };
  }

  #resultOf(exit: AgentExit): CommandResult {
    return resultOf(exit, {
      stdout: this.#stdout,
      stderr: this.#stderr,
      timedOut: this.#timedOut,
      startedAt: this.#started,
    });
  }
}

/** What was seen of a command besides its exit. */
export interface CommandSeen {
  readonly stdout: Capture;
  readonly stderr: Capture;
  readonly timedOut: boolean;
  /** On the clock of `performance.now()`. */
  readonly startedAt: number;
}

export function resultOf(exit: AgentExit, seen: CommandSeen): CommandResult {
  const signal = Object.keys(SIGNAL_NUMBERS).find((name) => SIGNAL_NUMBERS[name] === exit.signal);
  return {
    exitCode: exit.status,
    stdout: seen.stdout.text(),
    stderr: seen.stderr.text(),
    ...(signal === undefined ? {} : { signal }),
    timedOut: seen.timedOut,
    truncated: seen.stdout.truncated || seen.stderr.truncated,
    durationMs: Math.round(performance.now() - seen.startedAt),
    usage: { userMs: exit.userUs / 1000, systemMs: exit.systemUs / 1000, maxRssKib: exit.maxRssKib },
  };
}

/**
 * Gives a command its input. A stream is read as fast as the command takes it; when it fails, the input just ends.
 *
 * @throws E_USAGE for what is no input, and the command is killed
 */
export function feedStdin(
  process: Pick<AgentProcess, 'stdin' | 'kill'>,
  input: CommandOptions['stdin'],
): void {
  const { stdin } = process;
  if (input === true) return;
  if (input === undefined || input === false) return void stdin.end('');
  if (typeof input === 'string' || input instanceof Uint8Array) return void stdin.end(input);
  if (typeof input === 'object' && Symbol.asyncIterator in input) {
    pipeline(input instanceof Readable ? input : Readable.from(input, { objectMode: false }), stdin, () =>
      stdin.end(),
    );
    return;
  }
  process.kill(SIGNAL_NUMBERS['SIGKILL'] ?? 9);
  throw new GloveboxError('E_USAGE', {
    what: `stdin cannot be ${Array.isArray(input) ? 'a list' : `of type ${typeof input}`}`,
    next: 'Give text, bytes, a stream or another async iterable of them, or true to write yourself.',
  });
}

function aborted(name: string, signal: AbortSignal): GloveboxError {
  return new GloveboxError('E_ABORTED', { what: `${name} was aborted`, cause: signal.reason });
}

/** A queue of one reader: `push` resolves when the item is taken, which is the backpressure. */
class EventQueue<T> implements AsyncIterable<T> {
  readonly #items: { readonly value: T; readonly taken: () => void }[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  push(value: T): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => {
      this.#items.push({ value, taken: resolve });
      this.#wake?.();
    });
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    try {
      for (;;) {
        const item = this.#items.shift();
        if (item !== undefined) {
          item.taken();
          yield item.value;
        } else if (this.#ended) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.#ended = true;
      for (const item of this.#items.splice(0)) item.taken();
    }
  }
}
