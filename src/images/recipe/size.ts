import { lstatSync, readdirSync, type Stats } from 'node:fs';
import { setImmediate as breathe, setTimeout as delay } from 'node:timers/promises';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { fsPath, pathFromBytes } from '../../base/path-bytes.ts';
import { IMAGE_BOUNDS, type UnpackBounds } from '../unpack/budget.ts';

/** The pauses of a watch are so many times longer than its looks, and never shorter than `PAUSE_MS`. */
const PAUSE_FACTOR = 10;
const PAUSE_MS = 1000;

/**
 * What an image in the making may take: its base system and everything that steps add, together. What a step removes counts no more.
 */
export class BuildBudget {
  readonly #root: string;
  readonly #bounds: UnpackBounds;

  constructor(root: string, bounds: UnpackBounds = IMAGE_BOUNDS) {
    this.#root = root;
    this.#bounds = bounds;
  }

  /** What is left for one copy. */
  async left(): Promise<UnpackBounds> {
    const { bytes, entries } = await treeSize(this.#root);
    return {
      bytes: this.#bounds.bytes - bytes,
      entries: this.#bounds.entries - entries,
      exceeded: () => this.exceeded(),
    };
  }

  /** @throws E_IMAGE_TOO_LARGE */
  async check(): Promise<void> {
    const { bytes, entries } = await this.left();
    if (bytes < 0 || entries < 0) throw this.exceeded();
  }

  exceeded(): GloveboxError {
    const { bytes, entries } = this.#bounds;
    return new GloveboxError('E_IMAGE_TOO_LARGE', {
      what: 'the image becomes too large',
      why: `its base system and all steps together may take ${bytes} bytes and ${entries} files`,
      next: 'Take a smaller base system, or remove in the same step what is only needed to build.',
    });
  }

  /** Looks now and then while `work` runs, and aborts what it was given when the image is too large. @throws E_IMAGE_TOO_LARGE */
  async during<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const [over, done] = [new AbortController(), new AbortController()];
    const watching = this.#watch(over, done.signal);
    try {
      return await work(over.signal);
    } catch (error) {
      throw over.signal.aborted ? this.exceeded() : error;
    } finally {
      done.abort();
      await watching;
    }
  }

  async #watch(over: AbortController, done: AbortSignal): Promise<void> {
    let pauseMs = PAUSE_MS;
    while (await slept(pauseMs, done)) {
      const before = performance.now();
      const { bytes, entries } = await this.left();
      if (bytes < 0 || entries < 0) return over.abort();
      pauseMs = Math.max(PAUSE_MS, (performance.now() - before) * PAUSE_FACTOR);
    }
  }
}

function slept(ms: number, signal: AbortSignal): Promise<boolean> {
  return delay(ms, undefined, { signal }).then(
    () => !signal.aborted,
    () => false,
  );
}

/** Entries below a directory and the bytes of its files, each file once however many names it has. No symlink is followed. */
async function treeSize(root: string): Promise<Pick<UnpackBounds, 'bytes' | 'entries'>> {
  const seen = new Set<string>();
  const dirs = [root];
  let [bytes, entries] = [0, 0];
  for (let dir = dirs.pop(); dir !== undefined; dir = dirs.pop()) {
    for (const name of namesOf(dir)) {
      entries++;
      const child = `${dir}/${name}`;
      const stat = sizeOf(child);
      if (stat?.isDirectory() === true) dirs.push(child);
      if (stat?.isFile() !== true || (stat.nlink > 1 && seen.has(`${stat.dev}:${stat.ino}`))) continue;
      if (stat.nlink > 1) seen.add(`${stat.dev}:${stat.ino}`);
      bytes += stat.size;
    }
    // The gateway of a running step has its work on this thread.
    await breathe();
  }
  return { bytes, entries };
}

/** A step that runs takes away what was there a moment ago, and may leave what its owner cannot read: what is kept is measured in the end. */
const GONE = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ENAMETOOLONG']);

function namesOf(dir: string): readonly string[] {
  try {
    return readdirSync(fsPath(dir), { encoding: 'buffer' }).map(pathFromBytes);
  } catch (error) {
    if (GONE.has(systemCode(error) ?? '')) return [];
    throw error;
  }
}

function sizeOf(file: string): Stats | undefined {
  try {
    return lstatSync(fsPath(file), { throwIfNoEntry: false });
  } catch (error) {
    if (GONE.has(systemCode(error) ?? '')) return undefined;
    throw error;
  }
}
