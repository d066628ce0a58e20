import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';
import type { CliIo } from './contract.ts';

/** Exit code of a program that ended for a signal, as a shell says it. */
export const signalled = (name: NodeJS.Signals): number => 128 + (SIGNAL_NUMBERS[name] ?? 15);

/** A person who ends the command ends the sandbox with it, and so does a reader who has had enough. */
export class Stop {
  readonly #controller = new AbortController();
  readonly #listeners = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(
    (name) => [name, (): void => this.#stop(name)] as const,
  );
  readonly #output: NodeJS.WritableStream;
  readonly #unread = (): void => this.#stop('SIGPIPE');
  received: NodeJS.Signals | undefined;

  constructor({ stdout }: CliIo) {
    this.#output = stdout;
    stdout.on('error', this.#unread);
    for (const [name, listener] of this.#listeners) process.on(name, listener);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  dispose(): void {
    // What was written last may still find nobody there.
    this.#output.off('error', this.#unread).on('error', () => undefined);
    for (const [name, listener] of this.#listeners) process.off(name, listener);
  }

  #stop(name: NodeJS.Signals): void {
    this.received ??= name;
    this.#controller.abort();
  }
}
