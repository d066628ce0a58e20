import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  futimesSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { fsPath, isWithin, pathToBytes } from '../../base/path-bytes.ts';
import { CAPS } from '../../base/caps.ts';
import { invalid, shown, tooLarge } from '../invalid.ts';
import { readTar, type TarEntry } from '../tar/reader.ts';
import { linkOf, partsOf, resolveIn, statOf } from '../tree.ts';
import type { UnpackBudget } from './budget.ts';
import { LayerPaths } from './paths.ts';

const WHITEOUT = '.wh.';
/** What AUFS kept for itself, and the mark of an opaque directory among it. */
const META = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';

/** The owner can always work on it; setuid and setgid are gone. */
const fileMode = (mode: number): number => (mode & 0o777) | 0o600;
const dirMode = (mode: number): number => (mode & 0o1777) | 0o700;

/**
 * Applies one layer to a directory (OCI image specification, "Image Layer Filesystem Changeset").
 *
 * Preconditions: nobody else writes to `root`, whose parents are private. Every path is resolved inside it, part by part; files
 * are made and never opened; what an entry takes the place of is removed first, so no link leads a write elsewhere.
 *
 * @throws E_IMAGE_INVALID, E_IMAGE_TOO_LARGE; the directory is then of no use
 */
export async function applyLayer(
  root: string,
  tar: AsyncIterable<Uint8Array>,
  budget: UnpackBudget,
): Promise<void> {
  const layer = new Layer(root, budget);
  for await (const entry of readTar(tar)) await layer.apply(entry);
  layer.finish();
}

class Layer {
  readonly #root: string;
  readonly #budget: UnpackBudget;
  readonly #paths: LayerPaths;
  /** Modes and times of directories, which change while things are made in them. */
  readonly #dirs = new Map<string, { readonly mode: number; readonly mtime: number }>();

  constructor(root: string, budget: UnpackBudget) {
    this.#root = root;
    this.#budget = budget;
    this.#paths = new LayerPaths(root, budget);
  }

  async apply(entry: TarEntry): Promise<void> {
    this.#budget.entry(entry.name);
    const parts = partsOf(entry.name);
    const base = parts.at(-1);
    if (base === undefined) {
      if (entry.type === 'dir') this.#dirs.set(this.#root, entry);
      return;
    }
    if (base.startsWith(WHITEOUT)) {
      this.#whiteout(parts.slice(0, -1), base, entry);
      return;
    }
    if (entry.type === 'device' || entry.type === 'fifo') {
      this.#budget.skip(shown(entry.name), `a ${entry.type === 'fifo' ? 'FIFO' : 'device node'}`);
      return;
    }
    const parent = this.#paths.parent(parts.slice(0, -1));
    const target = `${parent}/${base}`;
    await this.#place(entry, target);
    this.#paths.mine(target);
  }

  /** Directories at last, inner ones first. */
  finish(): void {
    for (const [dir, { mode, mtime }] of [...this.#dirs].reverse()) {
      if (!this.#isStillThere(dir)) continue;
      chmodSync(fsPath(dir), dirMode(mode));
      utimesSync(fsPath(dir), mtime, mtime);
    }
  }

  /** A later entry may have put a symlink in the place of the directory, or of one above it. */
  #isStillThere(dir: string): boolean {
    const parts = dir === this.#root ? [] : dir.slice(this.#root.length + 1).split('/');
    const real = resolveIn(this.#root, parts, { follow: true, missing: 'undefined' });
    return real === dir && statOf(dir)?.isDirectory() === true;
  }

  #whiteout(dir: readonly string[], base: string, entry: TarEntry): void {
    if (base.startsWith(META) && base !== OPAQUE) return;
    const holder = resolveIn(this.#root, dir, { follow: true, missing: 'undefined' });
    const gone = base.slice(WHITEOUT.length);
    if (gone === '' || gone === '.' || gone === '..')
      throw invalid('a whiteout in the image names no file', shown(entry.name));
    if (holder === undefined || statOf(holder)?.isDirectory() !== true) return;
    if (base === OPAQUE) this.#paths.removeLowerIn(holder);
    else this.#paths.removeLower(`${holder}/${gone}`);
  }

  async #place(entry: TarEntry, target: string): Promise<void> {
    const before = statOf(target);
    if (entry.type === 'dir') {
      if (before?.isDirectory() !== true) {
        this.#paths.remove(target, before);
        mkdirSync(fsPath(target), 0o700);
      }
      this.#dirs.delete(target);
      this.#dirs.set(target, entry);
      return;
    }
    if (entry.type === 'hardlink') {
      this.#hardLink(entry, target);
      return;
    }
    this.#paths.remove(target, before);
    if (entry.type === 'symlink') this.#symlink(entry, target);
    else await this.#file(entry, target);
  }

  #symlink(entry: TarEntry, target: string): void {
    const to = pathToBytes(entry.link);
    if (to.length === 0 || to.includes(0))
      throw invalid('a symlink in the image leads nowhere', shown(entry.name));
    if (to.length >= CAPS.imagePathBytes)
      throw tooLarge('a symlink in the image is too long', shown(entry.name));
    symlinkSync(to, fsPath(target));
    lutimesSync(fsPath(target), entry.mtime, entry.mtime);
  }

  /** Only to what the image itself holds. A link to a symlink is another symlink, as link(2) makes it. */
  #hardLink(entry: TarEntry, target: string): void {
    const source = resolveLinkSource(this.#root, entry);
    const stat = source === undefined ? undefined : statOf(source);
    if (source === undefined || stat === undefined || !(stat.isFile() || stat.isSymbolicLink()))
      throw invalid(
        'a hard link in the image leads to no file of it',
        `${shown(entry.name)} to ${shown(entry.link)}`,
      );
    if (source === target) return;
    if (isWithin(source, target))
      throw invalid('a hard link in the image would replace what it leads to', shown(entry.name));
    this.#paths.remove(target, statOf(target));
    if (stat.isSymbolicLink()) symlinkSync(pathToBytes(linkOf(source)), fsPath(target));
    else linkSync(fsPath(source), fsPath(target));
  }

  async #file(entry: TarEntry, target: string): Promise<void> {
    if ((entry.mode & 0o6000) !== 0) this.#budget.setid();
    this.#budget.bytes(entry.size);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = openSync(fsPath(target), flags, 0o600);
    try {
      for await (const chunk of entry.body) {
        for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at);
      }
      fchmodSync(fd, fileMode(entry.mode));
      futimesSync(fd, entry.mtime, entry.mtime);
    } finally {
      closeSync(fd);
    }
  }
}

function resolveLinkSource(root: string, entry: TarEntry): string | undefined {
  const parts = partsOf(entry.link);
  return parts.length === 0 ? undefined : resolveIn(root, parts, { follow: false, missing: 'undefined' });
}
