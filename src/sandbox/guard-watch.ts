import { lstatSync, watch, type FSWatcher } from 'node:fs';
import path from 'node:path';
import { fsPath } from '../base/path-bytes.ts';
import type { Mask } from '../drivers/contract.ts';

/** Directories that are watched at most: an inotify watch each, of which a user has some thousands. */
const WATCHED_DIRECTORIES = 1024;

/**
 * Watches from the host that every guarded path stays the object it was. A mount lies on an object, not on a name: when the
 * host replaces a file by rename(2), as editors do, or removes a placeholder, the kernel takes the mount away in every
 * namespace, and the sandbox would see what came instead. Nothing can hold that from outside, so the run is ended.
 */
export class GuardWatch implements Disposable {
  readonly #watchers: FSWatcher[] = [];
  readonly #expected = new Map<string, number>();
  readonly #onLost: (path: string) => void;
  #lost = false;

  /** Preconditions: the masks are in force, so that placeholders stand. `onLost` is called once at most. */
  constructor(masks: readonly Mask[], onLost: (path: string) => void) {
    this.#onLost = onLost;
    const parents = new Map<string, Set<string>>();
    for (const mask of masks) {
      this.#expected.set(mask.path, inodeOf(mask.path));
      const parent = path.dirname(mask.path);
      parents.set(parent, (parents.get(parent) ?? new Set()).add(path.basename(mask.path)));
    }
    for (const [parent, names] of [...parents].slice(0, WATCHED_DIRECTORIES)) this.#watch(parent, names);
  }

  [Symbol.dispose](): void {
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  #watch(parent: string, names: ReadonlySet<string>): void {
    try {
      const watcher = watch(fsPath(parent), { persistent: false }, (event, name) => {
        if (event === 'rename' && (name === null || names.has(name))) this.#check(parent, names);
      });
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
      // What happened between the mask and the watch.
      this.#check(parent, names);
    } catch {
      // No watch left (ENOSPC), or not readable by us: the masks stand without it.
    }
  }

  #check(parent: string, names: ReadonlySet<string>): void {
    for (const name of names) {
      const target = path.join(parent, name);
      if (this.#lost || inodeOf(target) === this.#expected.get(target)) continue;
      this.#lost = true;
      this.#onLost(target);
    }
  }
}

/** 0 when there is nothing, or nothing that we may look at. */
function inodeOf(target: string): number {
  try {
    return lstatSync(fsPath(target), { throwIfNoEntry: false })?.ino ?? 0;
  } catch {
    return 0;
  }
}
