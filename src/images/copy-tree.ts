import { createHash, type Hash } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  futimesSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  symlinkSync,
  utimesSync,
  writeSync,
  type Stats,
} from 'node:fs';
import { CAPS } from '../base/caps.ts';
import { fsPath, pathFromBytes, pathToBytes } from '../base/path-bytes.ts';
import type { Digest } from './digest.ts';
import { invalid, shown, tooLarge } from './invalid.ts';
import { linkOf, statOf } from './tree.ts';
import type { UnpackBudget } from './unpack/budget.ts';

const CHUNK = 1024 * 1024;

/**
 * Copies a tree by the rules of `applyLayer`: no symlink is followed, device nodes, FIFOs and sockets are left out, setuid and setgid
 * bits dropped, everything belongs to the caller. `to` must not be there yet.
 *
 * Resolves with a digest of what was copied: names, kinds, modes and contents, but no times.
 */
export async function copyTree(from: string, to: string, budget: UnpackBudget): Promise<Digest> {
  const copy = new TreeCopy(budget);
  await copy.dir(from, to, '');
  return copy.digest();
}

/** Copies one file or symlink by the same rules. `to` must not be there. */
export async function copyEntry(from: string, to: string, budget: UnpackBudget): Promise<void> {
  await new TreeCopy(budget).entry(from, to, '');
}

class TreeCopy {
  readonly #budget: UnpackBudget;
  readonly #hash: Hash = createHash('sha256');
  readonly #buffer = Buffer.alloc(CHUNK);
  /** Where each file with several names went first. */
  readonly #links = new Map<string, { readonly path: string; readonly name: string }>();

  constructor(budget: UnpackBudget) {
    this.#budget = budget;
  }

  digest(): Digest {
    return `sha256:${this.#hash.digest('hex')}`;
  }

  async dir(from: string, to: string, name: string): Promise<void> {
    const stat = statOf(from);
    if (stat?.isDirectory() !== true) throw invalid('a directory is gone', shown(from));
    if (name.split('/').length - 1 > CAPS.imageDepth) throw tooLarge('the tree is too deep', shown(name));
    mkdirSync(fsPath(to), { mode: 0o700 });
    this.#note('dir', name, stat.mode & 0o1777);
    const names = readdirSync(fsPath(from), { encoding: 'buffer' }).sort((a, b) => a.compare(b));
    for (const bytes of names) {
      const child = pathFromBytes(bytes);
      await this.entry(`${from}/${child}`, `${to}/${child}`, `${name}/${child}`);
    }
    chmodSync(fsPath(to), (stat.mode & 0o1777) | 0o700);
    utimesSync(fsPath(to), stat.atime, stat.mtime);
  }

  async entry(from: string, to: string, name: string): Promise<void> {
    this.#budget.entry(name);
    const stat = statOf(from);
    if (stat === undefined) return;
    if (stat.isDirectory()) return this.dir(from, to, name);
    if (stat.isSymbolicLink()) return this.#symlink(from, to, { name, stat });
    if (stat.isFile()) return this.#file(from, to, name);
    this.#budget.skip(shown(name), 'a device node, FIFO or socket');
  }

  #symlink(from: string, to: string, facts: { readonly name: string; readonly stat: Stats }): void {
    const target = linkOf(from);
    symlinkSync(pathToBytes(target), fsPath(to));
    lutimesSync(fsPath(to), facts.stat.atime, facts.stat.mtime);
    this.#note('symlink', facts.name, 0);
    this.#text(target);
  }

  #file(from: string, to: string, name: string): void {
    const input = openSync(fsPath(from), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(input);
      if (!stat.isFile()) return this.#budget.skip(shown(name), 'it changed while it was read');
      const key = `${stat.dev}:${stat.ino}`;
      const first = stat.nlink > 1 ? this.#links.get(key) : undefined;
      if (first !== undefined) {
        linkSync(fsPath(first.path), fsPath(to));
        this.#note('link', name, 0);
        return this.#text(first.name);
      }
      if (stat.nlink > 1) this.#links.set(key, { path: to, name });
      if ((stat.mode & 0o6000) !== 0) this.#budget.setid();
      this.#note('file', name, stat.mode & 0o777);
      this.#content(input, to, stat);
    } finally {
      closeSync(input);
    }
  }

  #content(input: number, to: string, stat: Stats): void {
    const output = openSync(fsPath(to), 'wx', 0o600);
    try {
      for (let n = readSync(input, this.#buffer); n > 0; n = readSync(input, this.#buffer)) {
        this.#budget.bytes(n);
        const chunk = this.#buffer.subarray(0, n);
        this.#hash.update(chunk);
        for (let at = 0; at < n;) at += writeSync(output, chunk, at);
      }
      // The end of the content, for the hash.
      this.#text(String(fstatSync(output).size));
      fchmodSync(output, (stat.mode & 0o777) | 0o600);
      futimesSync(output, stat.atime, stat.mtime);
    } finally {
      closeSync(output);
    }
  }

  #note(kind: string, name: string, mode: number): void {
    this.#text(kind);
    this.#text(name);
    this.#text(mode.toString(8));
  }

  /** With its length, so that two lists of texts never read the same. */
  #text(text: string): void {
    const bytes = pathToBytes(text);
    this.#hash.update(`${bytes.length}:`).update(bytes);
  }
}
