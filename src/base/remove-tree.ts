import {
  chmodSync,
  closeSync,
  constants,
  openSync,
  opendirSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  type Dirent,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { setImmediate as breathe } from 'node:timers/promises';
import { GloveboxError, systemCode } from './errors.ts';
import { O_PATH } from './open-flags.ts';

/** System calls in a row before the rest of the process gets its turn. */
const TURN = 64;

/** Somebody fills the tree as fast as it is emptied. */
const PASSES = 100_000;

/**
 * Removes a directory and everything in it, whatever untrusted code has made of it: directories that are shut, names that are no UTF-8, trees
 * deeper than PATH_MAX, a million files. What `rm` refuses, and what its Node form would do in one go while everybody waits.
 *
 * Works by descriptor, follows no symbolic link, and moves directories up to the first level, so that no path grows. One that
 * is not there is no error.
 *
 * @throws the system's error for what cannot be removed
 */
export async function removeTree(dir: string): Promise<void> {
  const root = openDirectory(Buffer.from(dir));
  if (root === undefined) return;
  try {
    await new Removal(root).run();
  } finally {
    closeSync(root);
  }
  unlessGone(() => rmdirSync(dir));
}

class Removal {
  readonly #root: number;
  readonly #mark = `.${randomBytes(9).toString('base64url')}-`;
  #moved = 0;
  #calls = 0;

  constructor(root: number) {
    this.#root = root;
  }

  async run(): Promise<void> {
    for (let pass = 0; pass < PASSES; pass++) {
      let found = 0;
      for (const name of entriesOf(this.#root)) {
        found += 1;
        await this.#remove(this.#root, name);
      }
      if (found === 0) return;
    }
    throw new GloveboxError('E_IO', { what: 'a directory is filled as fast as it is emptied' });
  }

  async #remove(parent: number, entry: Dirent): Promise<void> {
    this.#calls += 1;
    if (this.#calls % TURN === 0) await breathe();
    const path = below(parent, entry.name);
    if (!entry.isDirectory() && unlinked(path)) return;
    const dir = openDirectory(path);
    if (dir === undefined) return;
    try {
      if (parent !== this.#root) return this.#moveUp(path);
      for (const inner of entriesOf(dir)) await this.#remove(dir, inner);
    } finally {
      closeSync(dir);
    }
    // Not empty when somebody put something there meanwhile: the next pass takes it.
    unlessGone(() => rmdirSync(path), 'ENOTEMPTY');
  }

  #moveUp(path: Buffer): void {
    this.#moved += 1;
    unlessGone(() => renameSync(path, below(this.#root, `${this.#mark}${this.#moved}`)));
  }
}

/** The directory, opened up for its owner; undefined when there is none of that name. */
function openDirectory(path: Buffer): number | undefined {
  const { O_DIRECTORY, O_NOFOLLOW } = constants;
  let fd: number | undefined;
  unlessGone(() => (fd = openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW)));
  if (fd !== undefined) chmodSync(`/proc/self/fd/${fd}`, 0o700);
  return fd;
}

/** Names in latin1, which keeps every byte. */
function* entriesOf(dir: number): Generator<Dirent, void, undefined> {
  const list = opendirSync(`/proc/self/fd/${dir}`, { encoding: 'latin1', bufferSize: 256 });
  try {
    for (let entry = list.readSync(); entry !== null; entry = list.readSync()) yield entry;
  } finally {
    list.closeSync();
  }
}

const below = (dir: number, name: string): Buffer => Buffer.from(`/proc/self/fd/${dir}/${name}`, 'latin1');

/** False for a directory: not every file system says in a listing what is one. */
function unlinked(path: Buffer): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return true;
    if (systemCode(error) === 'EISDIR') return false;
    throw error;
  }
}

function unlessGone(work: () => unknown, ...allowed: readonly string[]): void {
  try {
    work();
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code !== 'ENOENT' && !allowed.includes(code)) throw error;
  }
}
