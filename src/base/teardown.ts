/** One stack of things to undo. Steps run last-in first-out, each once, and a failing step never stops the others. */
export class Teardown implements AsyncDisposable {
  #steps: { readonly name: string; readonly undo: () => unknown }[] = [];
  #running: Promise<readonly TeardownFailure[]> | undefined;

  /** Adds a step. Preconditions: `run` has not been called. */
  add(name: string, undo: () => unknown): void {
    this.#steps.push({ name, undo });
  }

  /** Runs every step once; later calls get the first call's answer. */
  run(): Promise<readonly TeardownFailure[]> {
    this.#running ??= this.#unwind();
    return this.#running;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run();
  }

  async #unwind(): Promise<readonly TeardownFailure[]> {
    const failures: TeardownFailure[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        failures.push({ name: step.name, error });
      }
    }
    return failures;
  }
}

/** A teardown step that failed. */
export interface TeardownFailure {
  readonly name: string;
  readonly error: unknown;
}
