import { availableParallelism } from 'node:os';
import { JailMemory, type JailMemoryInput } from '../drivers/limits/index.ts';

export interface MemoryWatchInput extends JailMemoryInput {
  readonly limitBytes: number;
  /** Called at each look that finds too much: once, unless what was done about it did not help. */
  readonly onOver: () => void;
}

/**
 * What one processor can fill in a second: the kernel gives out zeroed pages at 1 to 2 GB/s here, and programs that touch each page are
 * slower. All of them together are bound by the memory itself.
 */
const FILL_BYTES_PER_MS = 2e6;
const FILL_PROCESSORS = 8;
/** A timer is no more exact than that, and each look costs a tenth of a millisecond. */
const SHORTEST_MS = 5;
const LONGEST_MS = 250;
/** Looking never takes more than a tenth of a processor. */
const COST_FACTOR = 10;

/**
 * Holds a limit on a jail's memory where no control group can: it looks how much there is, and looks again before what is left can have been
 * filled. So the limit is passed by what is filled in a few milliseconds, or while this process is kept from its timers; that is
 * why it counts as weak. It goes on while a sandbox is paused, because signals do not stop what is started then.
 */
export class MemoryWatch implements Disposable {
  readonly #input: MemoryWatchInput;
  readonly #memory: JailMemory;
  readonly #fill: number;
  #timer: NodeJS.Timeout | undefined;
  #peak = 0;
  #over = false;
  #disposed = false;

  constructor(input: MemoryWatchInput) {
    this.#input = input;
    this.#memory = new JailMemory(input);
    this.#fill = FILL_BYTES_PER_MS * Math.min(FILL_PROCESSORS, availableParallelism());
    this.#wait(input.limitBytes, 0);
  }

  /** Whether the limit was passed. */
  get over(): boolean {
    return this.#over;
  }

  /** Most that a look found, in bytes. */
  get peakBytes(): number {
    return this.#peak;
  }

  /** Bytes at this moment; undefined once the jail is over. */
  currentBytes(): number | undefined {
    const seen = this.#memory.read(this.#input.limitBytes);
    if (seen !== undefined) this.#peak = Math.max(this.#peak, seen);
    return seen;
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
  }

  #look(): void {
    const began = performance.now();
    const seen = this.currentBytes();
    const { limitBytes, onOver } = this.#input;
    if (seen !== undefined && seen > limitBytes) {
      this.#over = true;
      onOver();
    }
    if (!this.#disposed) this.#wait(limitBytes - (seen ?? 0), performance.now() - began);
  }

  #wait(headroom: number, costMs: number): void {
    const safe = Math.max(headroom / this.#fill, costMs * COST_FACTOR, SHORTEST_MS);
    this.#timer = setTimeout(() => this.#look(), Math.min(safe, LONGEST_MS));
    this.#timer.unref();
  }
}
