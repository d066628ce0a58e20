import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';

/** Signals that are passed on. A terminal's own keys never get here when the command has a terminal of its own. */
const FORWARDED: readonly NodeJS.Signals[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
];

/** Catches our own signals from before the sandbox starts; what comes too early waits for somebody to take it. */
export class SignalCatcher implements Disposable {
  readonly #early: NodeJS.Signals[] = [];
  readonly #undo: (() => void)[] = [];
  #take: ((signal: NodeJS.Signals, number: number) => void) | undefined;

  constructor() {
    for (const signal of FORWARDED) {
      const listener = (): void => this.#arrived(signal);
      process.on(signal, listener);
      this.#undo.push(() => process.off(signal, listener));
    }
  }

  /** From now on `take` gets every signal, those that came early first. */
  forwardTo(take: (signal: NodeJS.Signals, number: number) => void): void {
    this.#take = take;
    for (const signal of this.#early.splice(0)) this.#arrived(signal);
  }

  [Symbol.dispose](): void {
    for (const step of this.#undo.splice(0)) step();
  }

  #arrived(signal: NodeJS.Signals): void {
    if (this.#take === undefined) this.#early.push(signal);
    else this.#take(signal, SIGNAL_NUMBERS[signal] ?? 15);
  }
}
