import { mkdirSync, readdirSync, rmSync, unlinkSync, type Stats } from 'node:fs';
import { CAPS } from '../../base/caps.ts';
import { fsPath, pathFromBytes } from '../../base/path-bytes.ts';
import { invalid, shown, tooLarge } from '../invalid.ts';
import { partsOf, resolveIn, statOf } from '../tree.ts';
import type { UnpackBudget } from './budget.ts';

/** Where the entries of one layer go, and what in the tree came from the layers below. */
export class LayerPaths {
  readonly #root: string;
  readonly #budget: UnpackBudget;
  /** Real paths that this layer made or named, and their parents: whiteouts of the same layer leave them alone. */
  readonly #mine = new Set<string>();
  /** Real directories by name. Nothing that is only added changes where an existing directory is. */
  readonly #parents = new Map<string, string>();

  constructor(root: string, budget: UnpackBudget) {
    this.#root = root;
    this.#budget = budget;
  }

  /**
   * The real directory for an entry, made where it is missing.
   *
   * @throws E_IMAGE_INVALID where a file is in the way, E_IMAGE_TOO_LARGE where symlinks lead too deep
   */
  parent(parts: readonly string[]): string {
    const name = parts.join('/');
    const known = this.#parents.get(name);
    if (known !== undefined) return known;
    const real = resolveIn(this.#root, parts, { follow: true, missing: 'keep' }) ?? this.#root;
    if (real.slice(this.#root.length).split('/').length > CAPS.imageDepth)
      throw tooLarge('the image is too deep', `${shown(name)}: at most ${CAPS.imageDepth} directories`);
    const stat = statOf(real);
    if (stat === undefined) this.#make(real);
    else if (!stat.isDirectory()) throw invalid('an entry of the image lies below a file', shown(name));
    this.#parents.set(name, real);
    return real;
  }

  /** Remembers a path as this layer's. */
  mine(target: string): void {
    for (
      let at = target;
      at.length > this.#root.length && !this.#mine.has(at);
      at = at.slice(0, at.lastIndexOf('/'))
    )
      this.#mine.add(at);
  }

  /** Makes room for an entry. */
  remove(target: string, before: Stats | undefined): void {
    if (before === undefined) return;
    this.#parents.clear();
    if (before.isDirectory()) rmSync(fsPath(target), { recursive: true });
    else unlinkSync(fsPath(target));
  }

  /** Removes a path as far as it came from the layers below: order within a layer does not count. */
  removeLower(target: string): void {
    const stat = statOf(target);
    if (stat === undefined) return;
    if (!this.#mine.has(target)) this.remove(target, stat);
    else if (stat.isDirectory()) this.removeLowerIn(target);
  }

  removeLowerIn(dir: string): void {
    for (const name of readdirSync(fsPath(dir), { encoding: 'buffer' }))
      this.removeLower(`${dir}/${pathFromBytes(name)}`);
  }

  #make(real: string): void {
    // What an entry is called was checked; what a symlink put in its place was not.
    partsOf(real.slice(this.#root.length));
    const missing: string[] = [];
    for (let at = real; statOf(at) === undefined; at = at.slice(0, at.lastIndexOf('/'))) missing.unshift(at);
    for (const dir of missing) {
      const above = statOf(dir.slice(0, dir.lastIndexOf('/')));
      if (above?.isDirectory() !== true) throw invalid('an entry of the image lies below a file', shown(dir));
      this.#budget.entry(dir.slice(this.#root.length));
      mkdirSync(fsPath(dir), 0o755);
    }
  }
}
