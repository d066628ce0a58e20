import { duplexPair, type Duplex } from 'node:stream';
import { abortedError } from '../../agent/file-errors.ts';
import type { AgentChannel, AgentHello, AgentProcess, AirlockReady, ExecSpec } from '../../agent/contract.ts';
import type { Abortable, ListeningPort, SandboxProcess } from '../../agent/files-contract.ts';
import { deferred } from '../../agent/process.ts';
import { GloveboxError } from '../../base/errors.ts';
import { MemoryFiles } from './files.ts';
import type { Handlers } from './handlers.ts';
import { kernelLanguage, MemoryKernel } from './kernel.ts';
import { playHandler } from './play.ts';
import { MemoryProcess, type Play } from './process.ts';
import { findHandler } from './program.ts';

/** The first process number that a command gets: 1 is the agent's. */
const FIRST_PID = 2;

/** The double's agent: commands played by handlers, files in memory, ports that handlers listen on. */
export class MemoryChannel implements AgentChannel {
  readonly files: MemoryFiles = new MemoryFiles();
  readonly #handlers: Handlers;
  readonly #processes = new Map<number, MemoryProcess>();
  readonly #ports = new Map<number, (connection: Duplex) => void>();
  readonly #closed = deferred<Error | undefined>();
  #lastPid = FIRST_PID - 1;
  #pause: ReturnType<typeof deferred<void>> | undefined;
  #opened: (() => void)[] = [];
  #over = false;

  constructor(handlers: Handlers) {
    this.#handlers = handlers;
  }

  get ready(): Promise<AirlockReady> {
    return Promise.resolve({ ipv6: true, placeholders: new Map() });
  }

  get hello(): Promise<AgentHello> {
    const held = { landlock: true, landlockAbi: 7, seccomp: true, keyring: true };
    return Promise.resolve({ version: 1, pid: 1, uid: 1000, gid: 1000, ...held });
  }

  get closed(): Promise<Error | undefined> {
    return this.#closed.promise;
  }

  /** Commands that run. */
  get busy(): boolean {
    return this.#processes.size > 0;
  }

  exec(spec: ExecSpec): AgentProcess {
    this.#refuseOver();
    this.#lastPid += 1;
    const pid = this.#lastPid;
    const argv = spec.argv.map((word) => (typeof word === 'string' ? word : Buffer.from(word).toString()));
    const process = new MemoryProcess({
      id: pid,
      pid,
      spec,
      argv,
      play: this.#playOf(argv),
      surroundings: {
        files: this.files,
        awake: () => this.#pause?.promise ?? Promise.resolve(),
        listen: (port, accept) => this.#listen(port, accept),
      },
      gone: () => this.#processes.delete(pid),
    });
    this.#processes.set(pid, process);
    return process;
  }

  async dial(port: number): Promise<Duplex> {
    this.#refuseOver();
    const accept = this.#ports.get(port);
    if (accept === undefined)
      throw new GloveboxError('E_IO', { what: `nothing inside the sandbox listens on port ${port}` });
    const [outside, inside] = duplexPair();
    accept(inside);
    return outside;
  }

  async processes(options: Abortable = {}): Promise<readonly SandboxProcess[]> {
    this.#refuseOver();
    if (options.signal?.aborted === true) throw abortedError('listing processes', options.signal);
    return [...this.#processes.values()].map((process) => process.describe());
  }

  async ports(): Promise<readonly ListeningPort[]> {
    this.#refuseOver();
    return [...this.#ports.keys()].map((port) => ({ port, address: '127.0.0.1', uid: 1000 }));
  }

  async waitForPort(port: number, options: Abortable & { readonly timeoutMs?: number } = {}): Promise<void> {
    const { timeoutMs = 60_000, signal } = options;
    const late = AbortSignal.timeout(timeoutMs);
    const end = signal === undefined ? late : AbortSignal.any([late, signal]);
    while (!this.#ports.has(port)) {
      this.#refuseOver();
      if (signal?.aborted === true) throw abortedError(`waiting for port ${port}`, signal);
      if (late.aborted)
        throw new GloveboxError('E_TIMEOUT', {
          what: `nothing inside the sandbox listens on port ${port} after ${timeoutMs} ms`,
          context: { port, timeoutMs },
        });
      await new Promise<void>((resolve) => {
        this.#opened.push(resolve);
        end.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  /** Everything stands still until `resume`. */
  pause(): void {
    this.#pause ??= deferred<void>();
  }

  resume(): void {
    this.#pause?.resolve();
    this.#pause = undefined;
  }

  signalAll(signal: number): void {
    for (const process of this.#processes.values()) process.kill(signal);
  }

  async ping(): Promise<void> {
    this.#refuseOver();
  }

  async shutdown(): Promise<void> {
    this.destroy();
  }

  destroy(reason?: Error): void {
    if (this.#over) return;
    this.#over = true;
    const lost = new GloveboxError('E_SANDBOX_LOST', {
      what: 'the sandbox ended before the command answered',
      cause: reason,
    });
    for (const process of [...this.#processes.values()]) process.lose(lost);
    this.files.end(lost);
    this.#ports.clear();
    this.resume();
    this.#wake();
    this.#closed.resolve(reason);
  }

  #playOf(argv: readonly string[]): Play | undefined {
    const language = kernelLanguage(argv);
    if (language !== undefined && this.#handlers.code !== undefined)
      return new MemoryKernel(language, this.#handlers.code);
    const played = findHandler(argv, this.#handlers);
    return played === undefined ? undefined : playHandler(played);
  }

  #listen(port: number, accept: (connection: Duplex) => void): () => void {
    this.#ports.set(port, accept);
    this.#wake();
    return () => this.#ports.delete(port);
  }

  #wake(): void {
    for (const opened of this.#opened.splice(0)) opened();
  }

  #refuseOver(): void {
    if (this.#over) throw new GloveboxError('E_SANDBOX_CLOSED', { what: 'the sandbox has ended' });
  }
}
