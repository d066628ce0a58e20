import { onAbort } from './abort.ts';
import { abortedError } from './file-errors.ts';

/** At most so many at once; the others wait in order. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Runs `work` when a slot is free. Rejects with `E_ABORTED` when the signal comes first. */
  async run<T>(title: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (signal?.aborted === true) throw abortedError(title, signal);
    await this.#take(title, signal);
    try {
      return await work();
    } finally {
      this.#give();
    }
  }

  #take(title: string, signal: AbortSignal | undefined): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const forget = onAbort(signal, () => {
        this.#waiting.splice(this.#waiting.indexOf(turn), 1);
        reject(abortedError(title, signal));
      });
      const turn = (): void => {
        forget();
        resolve();
      };
      this.#waiting.push(turn);
    });
  }

  #give(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
