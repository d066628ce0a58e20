import { execFileSync } from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { compareTree } from './compare.ts';
import type { Change, Manifest, Review, ReviewRules } from './contract.ts';
import { copyWorkspace } from './copy.ts';
import { covering, judgeOf } from './rules.ts';
import { ReviewStore } from './store.ts';

/** A workspace, a copy of it that a test plays the sandbox in, and a store. */
export class ReviewFixture implements Disposable {
  readonly base: string = mkdtempSync('/var/tmp/gbx-review-');
  readonly workspace: string = path.join(this.base, 'workspace');
  readonly copy: string = path.join(this.base, 'copy');
  readonly store: ReviewStore = new ReviewStore({ state: this.base });
  readonly #rules: ReviewRules;
  #manifest: Manifest | undefined;
  #made = 0;

  constructor(files: Readonly<Record<string, string>> = {}, rules: Partial<ReviewRules> = {}) {
    mkdirSync(this.workspace);
    mkdirSync(this.copy);
    this.#rules = {
      workspace: this.workspace,
      denied: new Map(),
      protectedPaths: new Map(),
      denyGlobs: [],
      protectGlobs: [],
      lifted: [],
      ...rules,
    };
    for (const [name, text] of Object.entries(files)) this.write(this.workspace, name, text);
  }

  write(root: string, name: string, text: string | Uint8Array): void {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  /** Path in the workspace, as rules name it. */
  at(name: string): string {
    return path.join(this.workspace, name);
  }

  inside(name: string): string {
    return path.join(this.copy, name);
  }

  async start(extra: Partial<ReviewRules> = {}): Promise<Manifest> {
    Object.assign(this.#rules, extra);
    const { denied } = this.#rules;
    this.#manifest = await copyWorkspace({
      from: this.workspace,
      to: this.copy,
      withheld: (below) => covering(denied, this.at(below)),
    });
    return this.#manifest;
  }

  /** What the copy has become, as a review. */
  async review(): Promise<Review> {
    const draft = this.store.draft();
    const manifest = this.#manifest ?? (await this.start());
    const judge = await judgeOf(this.#rules);
    const found = await compareTree({ root: this.copy, manifest, judge, sink: draft });
    const id = `rev_${'abcdefghij'.charAt(this.#made++)}`;
    const { workspace } = this;
    const review: Review = { version: 1, id, sandbox: 'sbx_t', workspace, madeAt: this.#made, ...found };
    draft.finish(review);
    return review;
  }

  async changes(): Promise<readonly Change[]> {
    return (await this.review()).changes;
  }

  [Symbol.dispose](): void {
    execFileSync('chmod', ['-R', 'u+rwX', this.base]);
    rmSync(this.base, { recursive: true, force: true });
  }
}

/** Every name below a directory with type, mode and content. */
export function treeOf(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      const name = path.relative(root, file);
      const mode = (lstatSync(file).mode & 0o7777).toString(8);
      if (entry.isSymbolicLink()) return `${name} -> ${readlinkSync(file)}`;
      if (entry.isDirectory()) return `${name}/ ${mode}`;
      return entry.isFile() ? `${name} ${mode} ${readFileSync(file, 'latin1')}` : `${name} special`;
    })
    .sort();
}

/** Changes as `kind path` with what holds them back. */
export const briefly = (changes: readonly Change[]): readonly string[] =>
  changes.map(
    ({ kind, path: name, blocked, protectedBy }) =>
      `${kind} ${name}${blocked === undefined ? '' : ` !${blocked}`}${protectedBy === undefined ? '' : ` ?${protectedBy}`}`,
  );
