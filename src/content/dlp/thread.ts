import path from 'node:path';
import { Worker } from 'node:worker_threads';
import { packageRoot } from '../../base/version.ts';
import type { ScanFinding } from '../contract.ts';
import type { ScanConfig, ScanWork, ThreadAnswer, ThreadRequest } from './thread-protocol.ts';

/** Why there is no answer. */
export type ScanFailure = 'busy' | 'time' | 'failed';

export type ScanResult =
  | { readonly ok: true; readonly finding: ScanFinding | undefined }
  | { readonly ok: false; readonly why: ScanFailure };

export interface ScanThreadOptions {
  /** The program of the thread; the one the build made when absent. */
  readonly program?: string;
  /** For one piece of work; a loaded machine takes ten seconds for the worst 10 MiB. */
  readonly timeoutMs?: number;
  /** MiB of JavaScript objects; bodies lie outside. A thread that slowly takes more ends, and not the process. */
  readonly heapMib?: number;
}

/** What waits is held in memory, also when its sender has gone. */
const WAITING_MOST = 64;
const WAITING_BYTES = 64 * 1024 * 1024;
const TIMEOUT_MS = 60_000;
/** A thread without work goes, and its memory with it. */
const IDLE_MS = 30_000;
/** Texts for own patterns take up to 40 MiB; the rest is small. */
const HEAP_MIB = 256;

interface Job {
  readonly config: ScanConfig;
  readonly work: ScanWork;
  readonly resolve: (result: ScanResult) => void;
}

/** A running thread and what it was told. */
interface Live {
  readonly worker: Worker;
  config: ScanConfig | undefined;
  job: Job | undefined;
  timer: NodeJS.Timeout | undefined;
}

/**
 * One thread that looks into what is large, so that the gateway's event loop goes on meanwhile. Started with the first work, ended
 * when idle; one piece of work at a time, the others wait. A thread that dies or takes too long gives no verdict, which is a
 * refusal, and the next piece of work gets a new one.
 */
export class ScanThread {
  readonly #program: string;
  readonly #timeoutMs: number;
  readonly #heapMib: number;
  readonly #waiting: Job[] = [];
  #live: Live | undefined;
  #closed = false;

  constructor(options: ScanThreadOptions = {}) {
    this.#program = options.program ?? path.join(packageRoot(), 'dist/workers/scanner.mjs');
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#heapMib = options.heapMib ?? HEAP_MIB;
  }

  /** Never rejects. `config` is told to the thread when it is another object than the last time. */
  scan(config: ScanConfig, work: ScanWork): Promise<ScanResult> {
    if (this.#closed) return Promise.resolve({ ok: false, why: 'failed' });
    const bytes = this.#waiting.reduce((sum, job) => sum + job.work.data.length, work.data.length);
    const isFull = this.#waiting.length >= WAITING_MOST || bytes > WAITING_BYTES;
    // One at least may wait, however large the policy lets it be.
    if (isFull && this.#waiting.length > 0) return Promise.resolve({ ok: false, why: 'busy' });
    return new Promise((resolve) => {
      this.#waiting.push({ config, work, resolve });
      this.#next();
    });
  }

  /** Ends the thread; what waits gets no verdict. */
  async close(): Promise<void> {
    this.#closed = true;
    const live = this.#live;
    this.#lose(live, 'failed');
    for (const { resolve } of this.#waiting.splice(0)) resolve({ ok: false, why: 'failed' });
    await live?.worker.terminate();
  }

  #next(): void {
    if (this.#live?.job !== undefined) return;
    const job = this.#waiting.shift();
    if (job === undefined) return this.#rest();
    const live = (this.#live ??= this.#start());
    live.job = job;
    clearTimeout(live.timer);
    live.timer = setTimeout(() => this.#end(live, 'time'), this.#timeoutMs);
    live.worker.ref();
    this.#send(live, job);
  }

  #send(live: Live, { config, work }: Job): void {
    // A copy of its own: the body itself leaves after the verdict, and may be a part of a larger piece of memory.
    const data = new Uint8Array(work.data);
    const told = live.config === config ? {} : { config };
    live.config = config;
    const request: ThreadRequest = { ...work, ...told, data };
    live.worker.postMessage(request, [data.buffer]);
  }

  #start(): Live {
    const worker = new Worker(this.#program, {
      name: 'glovebox-scanner',
      // Nothing of the process: no variables, no flags, no input.
      env: {},
      argv: [],
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: this.#heapMib },
    });
    const live: Live = { worker, config: undefined, job: undefined, timer: undefined };
    worker.on('message', (answer: ThreadAnswer) => this.#answered(live, answer));
    worker.on('error', () => this.#lose(live, 'failed'));
    worker.on('exit', () => this.#lose(live, 'failed'));
    return live;
  }

  #answered(live: Live, { finding }: ThreadAnswer): void {
    const { job } = live;
    if (live !== this.#live || job === undefined) return;
    live.job = undefined;
    clearTimeout(live.timer);
    job.resolve({ ok: true, finding });
    this.#next();
  }

  /** Nothing to do: the thread holds nobody up, and goes after a while. */
  #rest(): void {
    const live = this.#live;
    if (live === undefined) return;
    live.worker.unref();
    live.timer = setTimeout(() => this.#end(live, 'failed'), IDLE_MS).unref();
  }

  #end(live: Live, why: ScanFailure): void {
    void live.worker.terminate();
    this.#lose(live, why);
  }

  /** The thread is gone or given up: its work has no verdict, and the next gets another thread. */
  #lose(live: Live | undefined, why: ScanFailure): void {
    if (live === undefined || live !== this.#live) return;
    this.#live = undefined;
    clearTimeout(live.timer);
    live.job?.resolve({ ok: false, why });
    if (!this.#closed) this.#next();
  }
}
