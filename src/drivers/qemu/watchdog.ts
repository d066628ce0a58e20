import type { Duplex } from 'node:stream';

export interface WatchdogInput {
  /** The guest's channel: whatever arrives on it is a sign of life. */
  readonly channel: Duplex;
  /** Asks the guest's agent for one. */
  readonly ping: () => Promise<void>;
  /** Called once. */
  readonly onHung: () => void;
  /** Milliseconds between two looks. Default 5 s. */
  readonly intervalMs?: number;
}

const INTERVAL_MS = 5_000;

/** Looks in a row without a sign of life after which a guest hangs: half a minute. An agent under load answers within a second. */
export const HUNG_LOOKS = 6;

/**
 * Ends a machine that says nothing any more: its kernel hangs, or QEMU is stopped. A guest that talks is not asked. Looks are counted and not the
 * time, so a host process that was stopped itself, or whose machine slept, takes nobody's life when it goes on.
 */
export class Watchdog implements Disposable {
  readonly #input: WatchdogInput;
  readonly #heard: () => void;
  #timer: NodeJS.Timeout | undefined;
  #silent = 0;
  #asked = false;

  constructor(input: WatchdogInput) {
    this.#input = input;
    this.#heard = () => (this.#silent = -1);
    input.channel.on('data', this.#heard);
    this.resume();
  }

  /** Until `resume` nobody is asked: a guest that is paused has nothing to say. */
  pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  resume(): void {
    this.#silent = 0;
    this.#timer ??= setInterval(() => this.#look(), this.#input.intervalMs ?? INTERVAL_MS);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    this.pause();
    this.#input.channel.off('data', this.#heard);
  }

  #look(): void {
    this.#silent += 1;
    if (this.#silent > HUNG_LOOKS) {
      this[Symbol.dispose]();
      this.#input.onHung();
    } else if (this.#silent > 0) this.#ask();
  }

  /** One question at a time: the answer to a second one would come after that to the first. */
  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#input.ping().then(
      () => (this.#asked = false),
      // The session is over, and says why.
      () => this[Symbol.dispose](),
    );
  }
}
