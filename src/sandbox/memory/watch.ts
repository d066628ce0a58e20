import { posix } from 'node:path';
import type { FileWatch, WatchEvent } from '../../agent/files-contract.ts';

/** What changed, with its absolute path. */
export type Change =
  | {
      readonly type: 'create' | 'write' | 'remove' | 'chmod';
      readonly path: string;
      readonly directory: boolean;
    }
  | { readonly type: 'rename'; readonly path: string; readonly to: string; readonly directory: boolean };

/** A watch of the directory `root`, which hears of every change of the tree. */
export class MemoryWatch implements FileWatch {
  readonly #root: string;
  readonly #recursive: boolean;
  readonly #left: () => void;
  readonly #events: WatchEvent[] = [];
  #wake: (() => void) | undefined;
  #over = false;
  #failure: Error | undefined;

  constructor(input: { readonly root: string; readonly recursive: boolean; readonly left: () => void }) {
    this.#root = input.root;
    this.#recursive = input.recursive;
    this.#left = input.left;
  }

  hear(change: Change): void {
    if (change.type === 'remove' && change.path === this.#root) return this.end();
    const path = this.#inside(change.path);
    const { directory } = change;
    if (change.type !== 'rename') {
      if (path !== undefined) this.#add({ type: change.type, path, directory });
      return;
    }
    const to = this.#inside(change.to);
    if (path !== undefined && to !== undefined) this.#add({ type: 'rename', path, to, directory });
    else if (path !== undefined) this.#add({ type: 'remove', path, directory });
    else if (to !== undefined) this.#add({ type: 'create', path: to, directory });
  }

  end(failure?: Error): void {
    this.#failure = failure;
    this.#over = true;
    this.#wake?.();
    this.#left();
  }

  async stop(): Promise<void> {
    this.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, undefined> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) yield event;
      else if (this.#failure !== undefined) throw this.#failure;
      else if (this.#over) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }

  #add(event: WatchEvent): void {
    if (this.#over) return;
    this.#events.push(event);
    this.#wake?.();
  }

  #inside(path: string): string | undefined {
    const below = posix.relative(this.#root, path);
    if (below === '' || below.startsWith('../')) return undefined;
    return this.#recursive || !below.includes('/') ? below : undefined;
  }
}
