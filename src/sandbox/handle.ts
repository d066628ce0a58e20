import type { AgentExit, AgentProcess } from '../agent/contract.ts';
import type { KeptOutput, OutputCursor } from '../agent/kept-output.ts';
import { commandError } from '../agent/start-error.ts';
import { abortedError } from '../agent/file-errors.ts';
import { GloveboxError } from '../base/errors.ts';
import { CAPS } from '../base/caps.ts';
import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';
import { Capture, CommandExitError, resultOf, type CommandResult } from './command.ts';

/** What is known of a command in the background. */
export interface ProgramInfo {
  readonly pid: number;
  readonly cmd: string;
  readonly args: readonly string[];
  readonly envs: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly tag?: string;
  readonly pty: boolean;
  /** Milliseconds; in a `Program` since this process began, on the way between processes since the epoch. */
  readonly startedAt: number;
}

/** A command that goes on in the background: of this process, or held by another one. */
export interface Program extends ProgramInfo {
  readonly process: Pick<AgentProcess, 'stdin' | 'exit' | 'kill' | 'resize'>;
  readonly kept: Pick<KeptOutput, 'start' | 'read'>;
}

/** As it is told to another process. */
export function programInfo({ pid, cmd, args, envs, cwd, tag, pty, startedAt }: Program): ProgramInfo {
  const started = Date.now() - (performance.now() - startedAt);
  return { pid, cmd, args, envs, cwd, ...(tag === undefined ? {} : { tag }), pty, startedAt: started };
}

export interface HandleOptions {
  /** Where to begin to read; default everything that is still kept. */
  readonly cursor?: Partial<OutputCursor>;
  /** Milliseconds after which the command is ended; 0 or absent: none. */
  readonly timeoutMs?: number;
  /** Ends the command when aborted. */
  readonly signal?: AbortSignal;
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
  /** Of a terminal: its bytes as they come. */
  readonly onData?: (data: Uint8Array) => void;
  /** Bytes kept of each stream for `stdout` and `stderr` of this handle. Default 16 MiB. */
  readonly maxOutputBytes?: number;
}

/** A background command or terminal, seen from where a cursor stood. Names as in E2B. */
export class CommandHandle implements AsyncDisposable {
  readonly pid: number;
  readonly #program: Program;
  readonly #options: HandleOptions;
  readonly #stdout: Capture;
  readonly #stderr: Capture;
  readonly #left = new AbortController();
  readonly #ended: Promise<CommandResult>;
  readonly #cursor: { stdout: number; stderr: number };
  #exit: AgentExit | undefined;
  #timedOut = false;

  constructor(program: Program, options: HandleOptions) {
    this.pid = program.pid;
    this.#program = program;
    this.#options = options;
    const max = options.maxOutputBytes ?? CAPS.capturedOutputBytes;
    this.#stdout = new Capture(max);
    this.#stderr = new Capture(max);
    this.#cursor = { ...program.kept.start, ...options.cursor };
    this.#ended = this.#follow();
    this.#ended.catch(() => undefined);
  }

  /** What was read so far. */
  get stdout(): string {
    return this.#stdout.text();
  }

  get stderr(): string {
    return this.#stderr.text();
  }

  /** Undefined while it runs. */
  get exitCode(): number | undefined {
    return this.#exit?.status;
  }

  /** Where this handle has read to: hand it to `connect` to go on from here, in this process or after a lost connection. */
  get cursor(): OutputCursor {
    return { ...this.#cursor };
  }

  /** Resolves at the command's end. @throws CommandExitError when it ends with another code than 0, E_ABORTED, E_OUTPUT_GONE */
  async wait(): Promise<CommandResult> {
    const result = await this.#ended;
    if (result.exitCode !== 0) throw new CommandExitError(this.#program.cmd, result);
    return result;
  }

  /** Signals the command's process group; false when it has ended. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<boolean> {
    if (this.#exit !== undefined) return false;
    this.#program.process.kill(SIGNAL_NUMBERS[signal] ?? 9);
    return true;
  }

  /** Stops reading; the command goes on. */
  async disconnect(): Promise<void> {
    this.#left.abort();
  }

  async sendStdin(data: string | Uint8Array): Promise<void> {
    await writeTo(this.#program.process, data);
  }

  async closeStdin(): Promise<void> {
    this.#program.process.stdin.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.#ended.catch(() => undefined);
  }

  async #follow(): Promise<CommandResult> {
    const cancel = this.#watch();
    try {
      await this.#read();
      const exit = await this.#program.process.exit;
      this.#exit = exit;
      const failed = commandError(exit, this.#program.cmd);
      if (failed !== undefined) throw failed;
      const { signal } = this.#options;
      if (signal?.aborted === true) throw abortedError(this.#program.cmd, signal);
      return resultOf(exit, {
        stdout: this.#stdout,
        stderr: this.#stderr,
        timedOut: this.#timedOut,
        startedAt: this.#program.startedAt,
      });
    } finally {
      cancel();
    }
  }

  async #read(): Promise<void> {
    const { onStdout, onStderr, onData } = this.#options;
    const text = { stdout: new TextDecoder(), stderr: new TextDecoder() };
    const tell = { stdout: onStdout, stderr: onStderr };
    const { signal } = this.#left;
    try {
      for await (const { channel, data } of this.#program.kept.read(this.#cursor, { signal })) {
        this.#cursor[channel] += data.length;
        (channel === 'stdout' ? this.#stdout : this.#stderr).add(data);
        tell[channel]?.(text[channel].decode(data, { stream: true }));
        onData?.(data);
      }
    } catch (error) {
      if (signal.aborted) throw new GloveboxError('E_ABORTED', { what: 'the handle was disconnected' });
      throw error;
    }
  }

  /** Starts the timeout and follows the abort signal; answers how to stop both. */
  #watch(): () => void {
    const { timeoutMs = 0, signal } = this.#options;
    const { process } = this.#program;
    const end = (): void => process.kill(SIGNAL_NUMBERS['SIGKILL'] ?? 9);
    const late = (): void => {
      this.#timedOut = true;
      end();
    };
    const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted === true) end();
    return () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', end);
    };
  }
}

/** Resolves when the bytes were taken over. @throws E_SANDBOX_CLOSED when nobody reads any more */
export function writeTo({ stdin }: Pick<AgentProcess, 'stdin'>, data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (): void =>
      reject(new GloveboxError('E_USAGE', { what: 'the input of the command is closed' }));
    if (!stdin.writable) return refused();
    stdin.write(data, (error) => (error ? refused() : resolve()));
  });
}
