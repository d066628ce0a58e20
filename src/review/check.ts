import { closeSync, readlinkSync, type BigIntStats } from 'node:fs';
import { CAPS } from '../base/caps.ts';
import { systemCode } from '../base/errors.ts';
import { pathFromBytes } from '../base/path-bytes.ts';
import { readFileAt, type Turns } from './content.ts';
import type { Change, NodeState } from './contract.ts';
import { at, inParent, leadsNowhere, namesIn, openDirAt, openRoot, statAt } from './descriptors.ts';
import { parentsOf } from './select.ts';

export interface Conflict {
  readonly path: string;
  readonly why: string;
}

/** Which inode was looked at, to tell in the last moment whether it still is that one. */
export interface Looked {
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

export interface Checked {
  readonly conflicts: readonly Conflict[];
  /** Changes that the host does not have yet, in the order given. */
  readonly due: readonly Change[];
  /** By path: what stands there now. */
  readonly looked: ReadonlyMap<string, Looked>;
}

/** What stands at a path of the host, and the inode. */
interface Standing {
  readonly state: NodeState | 'other';
  readonly stat: BigIntStats;
}

/** Compares the host's workspace with what the sandbox was given: only where they are the same a change means what it says. */
export async function checkChanges(
  workspace: string,
  changes: readonly Change[],
  turns: Turns,
): Promise<Checked> {
  const root = openRoot(workspace);
  try {
    return await new HostCheck(root, changes, turns).run();
  } finally {
    closeSync(root);
  }
}

class HostCheck {
  readonly #root: number;
  readonly #changes: readonly Change[];
  readonly #turns: Turns;
  readonly #deleted: ReadonlySet<string>;
  readonly #made: ReadonlySet<string>;
  readonly #looked = new Map<string, Looked>();

  constructor(root: number, changes: readonly Change[], turns: Turns) {
    this.#root = root;
    this.#changes = changes;
    this.#turns = turns;
    const paths = (keep: (change: Change) => boolean): ReadonlySet<string> =>
      new Set(changes.filter(keep).map(({ path }) => path));
    this.#deleted = paths(({ kind }) => kind === 'deleted');
    this.#made = paths(({ kind, after }) => kind === 'added' && after?.type === 'dir');
  }

  async run(): Promise<Checked> {
    const conflicts: Conflict[] = [];
    const due: Change[] = [];
    for (const change of this.#changes) {
      const outcome = await this.#check(change);
      if (outcome === 'due') due.push(change);
      else if (outcome !== 'done') conflicts.push({ path: change.path, why: outcome });
    }
    return { conflicts, due, looked: this.#looked };
  }

  /** `done`: the host has it already. Anything else but `due` is why it cannot be applied. */
  async #check(change: Change): Promise<string> {
    const { path, kind, before, after } = change;
    const now = await this.#standing(path);
    if (now !== undefined) {
      const { ino, size, mtimeNs } = now.stat;
      this.#looked.set(path, { ino, size, mtimeNs });
    }
    const replaces = kind === 'added' && this.#deleted.has(path);
    if (kind === 'deleted' && now === undefined) return 'done';
    if (kind !== 'deleted' && !replaces && now !== undefined && isState(now.state, after)) return 'done';
    if (kind === 'added')
      return replaces || now === undefined ? this.#parentProblem(path) : 'the host has it now';
    if (now === undefined) return 'it is not there any more';
    if (!isState(now.state, before)) return 'it changed on the host meanwhile';
    return kind === 'deleted' && before?.type === 'dir' ? this.#strangers(path) : 'due';
  }

  async #standing(path: string): Promise<Standing | undefined> {
    await this.#turns.take();
    // What is on its way through a link or a file is not there.
    try {
      return await this.#lookIn(path);
    } catch (error) {
      if (leadsNowhere(error)) return undefined;
      throw error;
    }
  }

  async #lookIn(path: string): Promise<Standing | undefined> {
    const parent = path.slice(0, Math.max(path.lastIndexOf('/'), 0));
    const name = path.slice(parent === '' ? 0 : parent.length + 1);
    const dir = parent === '' ? undefined : inParent(this.#root, parent, openDirAt);
    try {
      return await this.#look(dir ?? this.#root, name);
    } finally {
      if (dir !== undefined) closeSync(dir);
    }
  }

  async #look(dir: number, name: string): Promise<Standing | undefined> {
    const stat = statAt(dir, name);
    if (stat === undefined) return undefined;
    const mode = Number(stat.mode) & 0o777;
    if (stat.isDirectory()) return { stat, state: { type: 'dir', mode } };
    if (stat.isSymbolicLink()) {
      const target = pathFromBytes(readlinkSync(at(dir, name), { encoding: 'buffer' }));
      return { stat, state: { type: 'symlink', target } };
    }
    if (!stat.isFile()) return { stat, state: 'other' };
    const content = await readFileAt(dir, name, { turns: this.#turns, most: CAPS.reviewBytes });
    if (content === undefined) return { stat, state: 'other' };
    const { size, sha256 } = content;
    return { stat, state: { type: 'file', size, sha256, mode } };
  }

  /** `due`, or why nothing can be made there. */
  #parentProblem(path: string): string {
    const parent = parentsOf(path)[0];
    if (parent === undefined || this.#made.has(parent)) return 'due';
    try {
      closeSync(inParent(this.#root, parent, openDirAt));
      return 'due';
    } catch (error) {
      if (leadsNowhere(error)) return 'the directory above it is not there';
      return `the directory above it cannot be opened (${systemCode(error) ?? 'error'})`;
    }
  }

  /** `due`, or what a directory that is to go holds besides. */
  #strangers(path: string): string {
    const dir = inParent(this.#root, path, openDirAt);
    try {
      for (const name of namesIn(dir))
        if (!this.#deleted.has(`${path}/${name}`)) return `the host has something in it: ${name}`;
      return 'due';
    } finally {
      closeSync(dir);
    }
  }
}

function isState(now: NodeState | 'other', wanted: NodeState | undefined): boolean {
  if (now === 'other' || wanted === undefined || now.type !== wanted.type) return false;
  if (now.type === 'symlink') return wanted.type === 'symlink' && now.target === wanted.target;
  if (wanted.type === 'symlink' || now.mode !== wanted.mode) return false;
  return now.type === 'dir' || (wanted.type === 'file' && now.sha256 === wanted.sha256);
}
