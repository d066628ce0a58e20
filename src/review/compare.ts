import { closeSync, fstatSync, readlinkSync, type BigIntStats } from 'node:fs';
import { CAPS } from '../base/caps.ts';
import { systemCode } from '../base/errors.ts';
import { pathFromBytes, printablePath } from '../base/path-bytes.ts';
import { drain, Turns } from './content.ts';
import type { Change, Manifest, NodeState, Stamp } from './contract.ts';
import { at, namesIn, openDirAt, openFileAt, openRoot, statAt } from './descriptors.ts';
import { leavesTree } from './links.ts';
import { isGitPointer, type Judge } from './rules.ts';

/** Takes the new contents that are worth keeping. */
export interface ContentSink {
  /** Where the next content is written: a descriptor that `keep` or `drop` ends. */
  open(): number;
  /** The number of what was written since `open`. */
  keep(): number;
  drop(): void;
}

export interface CompareInput {
  /** The tree as the sandbox left it, or has it at this moment. */
  readonly root: string;
  readonly manifest: Manifest;
  readonly judge: Judge;
  /** What the sandbox has and the tree does not, with the reason: it came from a machine, and could not be taken. */
  readonly refused?: ReadonlyMap<string, string>;
  /** Absent: contents are looked at and not kept. */
  readonly sink?: ContentSink;
}

export interface Comparison {
  /** By path, parents first. */
  readonly changes: readonly Change[];
  readonly truncated: boolean;
}

/**
 * What a sandbox made of its copy, by looking at it: everything below `root` is hostile and may change meanwhile. No symbolic link is followed, no pipe
 * waited for, no more than the caps read; what cannot be applied safely is a change with the reason.
 */
export async function compareTree(input: CompareInput): Promise<Comparison> {
  const comparison = new TreeComparison(input);
  const root = openRoot(input.root);
  try {
    await comparison.dir(root, '', 0);
  } finally {
    closeSync(root);
  }
  return comparison.result();
}

/** What is known of an entry before its rules are asked. */
type Finding = Omit<Change, 'protectedBy' | 'runs'>;

class TreeComparison {
  readonly #input: CompareInput;
  readonly #turns = new Turns();
  readonly #changes: Change[] = [];
  readonly #seen = new Set<string>();
  /** Every symbolic link of the tree. */
  readonly #links = new Map<string, string>();
  /** Directories that could not be looked into. */
  readonly #shut: string[] = [];
  #entries = 0;
  #bytes = 0;
  #truncated = false;

  constructor(input: CompareInput) {
    this.#input = input;
  }

  result(): Comparison {
    for (const [path, why] of this.#input.refused ?? []) {
      this.#seen.add(path);
      this.#shut.push(path);
      this.#blocked(path, why);
    }
    this.#deletions();
    const changes = this.#changes.map((change) => this.#judged(change));
    return {
      changes: changes.sort((a, b) => compareText(a.path, b.path) || (a.kind === 'deleted' ? -1 : 1)),
      truncated: this.#truncated,
    };
  }

  async dir(fd: number, path: string, depth: number): Promise<void> {
    for (const name of namesIn(fd)) {
      await this.#turns.take();
      if (++this.#entries > CAPS.reviewEntries || this.#changes.length >= CAPS.reviewChanges) {
        this.#truncated = true;
        this.#shut.push(path);
        return;
      }
      await this.#entry(fd, name, { path: path === '' ? name : `${path}/${name}`, depth });
    }
  }

  async #entry(
    dir: number,
    name: string,
    place: { readonly path: string; readonly depth: number },
  ): Promise<void> {
    const { path } = place;
    this.#seen.add(path);
    const problem = nameProblem(name, place) ?? this.#withheldProblem(path);
    if (problem !== undefined) {
      this.#shut.push(path);
      return this.#add({
        path,
        kind: this.#known(path) === undefined ? 'added' : 'modified',
        blocked: problem,
      });
    }
    try {
      const stat = statAt(dir, name);
      if (stat === undefined) return void this.#seen.delete(path);
      if (stat.isDirectory()) return await this.#directory(dir, name, { ...place, stat });
      if (stat.isSymbolicLink()) return this.#symlink(dir, name, path);
      if (stat.isFile()) return await this.#file(dir, name, { path, stat });
      this.#blocked(path, 'it is a socket, pipe or device');
    } catch (error) {
      this.#shut.push(path);
      this.#blocked(path, `it cannot be read (${systemCode(error) ?? 'error'})`);
      if (systemCode(error) === undefined) throw error;
    }
  }

  async #directory(
    dir: number,
    name: string,
    { path, depth, stat }: { readonly path: string; readonly depth: number; readonly stat: BigIntStats },
  ): Promise<void> {
    const mode = Number(stat.mode) & 0o777;
    const before = this.#replaced(path, 'dir');
    if (before === undefined) this.#add({ path, kind: 'added', after: { type: 'dir', mode } });
    // The copy of a directory is one that its owner may enter, whatever the original is.
    else if (before.type === 'dir' && (before.mode | 0o700) !== mode)
      this.#add({ path, kind: 'mode', before, after: { type: 'dir', mode } });
    const fd = openDirAt(dir, name);
    try {
      await this.dir(fd, path, depth + 1);
    } finally {
      closeSync(fd);
    }
  }

  #symlink(dir: number, name: string, path: string): void {
    const target = pathFromBytes(readlinkSync(at(dir, name), { encoding: 'buffer' }));
    this.#links.set(path, target);
    const before = this.#replaced(path, 'symlink');
    if (before?.type === 'symlink' && before.target === target) return;
    this.#add({
      path,
      kind: before === undefined ? 'added' : 'modified',
      ...(before === undefined ? {} : { before }),
      after: { type: 'symlink', target },
      ...(printablePath(target) === target ? {} : { blocked: 'its target holds control characters' }),
    });
  }

  async #file(
    dir: number,
    name: string,
    { path, stat }: { readonly path: string; readonly stat: BigIntStats },
  ): Promise<void> {
    const known = this.#input.manifest.nodes.get(path);
    const before = this.#replaced(path, 'file');
    const mode = Number(stat.mode) & 0o777;
    const setid = (stat.mode & 0o6000n) !== 0n;
    if (before?.type === 'file' && !setid && before.mode === mode && isSame(known?.stamp, stat)) return;
    const content = await this.#content(dir, name, before);
    if (content === undefined) return this.#blocked(path, 'it is larger than a review may be');
    const { sha256, size, binary, number } = content;
    const after: NodeState = { type: 'file', size, sha256, mode };
    const same = before?.type === 'file' && before.sha256 === sha256;
    if (same && before.mode === mode && !setid) return;
    this.#add({
      path,
      kind: before === undefined ? 'added' : same ? 'mode' : 'modified',
      ...(before === undefined ? {} : { before }),
      after,
      ...(number === undefined ? {} : { content: number }),
      ...(binary ? { binary } : {}),
      ...(setid ? { blocked: 'it has set-id bits' } : {}),
    });
  }

  /** Reads a file once and keeps what was read, so that what is shown is what is applied. */
  async #content(
    dir: number,
    name: string,
    before: NodeState | undefined,
  ): Promise<
    | { readonly sha256: string; readonly size: number; readonly binary: boolean; readonly number?: number }
    | undefined
  > {
    const { sink } = this.#input;
    const input = openFileAt(dir, name);
    try {
      const most = CAPS.reviewBytes - this.#bytes;
      // A file with holes may say any size.
      const stat = fstatSync(input);
      if (!stat.isFile() || stat.size > most) return undefined;
      const output = sink?.open();
      const content = await drain(input, this.#turns, { most, ...(output === undefined ? {} : { output }) });
      if (content === undefined || (before?.type === 'file' && before.sha256 === content.sha256)) {
        sink?.drop();
        return content;
      }
      this.#bytes += content.size;
      const number = sink?.keep();
      return { ...content, ...(number === undefined ? {} : { number }) };
    } finally {
      closeSync(input);
    }
  }

  /** What was copied there, when it is of the same type; a change of type is a deletion and something new. */
  #replaced(path: string, type: NodeState['type']): NodeState | undefined {
    const before = this.#known(path);
    if (before === undefined || before.type === type) return before;
    this.#add({ path, kind: 'deleted', before });
    return undefined;
  }

  #known(path: string): NodeState | undefined {
    return this.#input.manifest.nodes.get(path)?.state;
  }

  #withheldProblem(path: string): string | undefined {
    const why = this.#input.manifest.withheld.get(path);
    return why === undefined ? undefined : `what the host has there was not copied: ${why}`;
  }

  #blocked(path: string, blocked: string): void {
    const before = this.#known(path);
    this.#add({
      path,
      kind: before === undefined ? 'added' : 'modified',
      ...(before === undefined ? {} : { before }),
      blocked,
    });
  }

  #add(finding: Finding): void {
    this.#changes.push(finding);
  }

  /** What was copied and is not there any more. */
  #deletions(): void {
    const unknown = new Set(this.#shut);
    for (const [path, { state }] of this.#input.manifest.nodes) {
      if (this.#seen.has(path) || isBelow(path, unknown)) continue;
      if (this.#changes.length >= CAPS.reviewChanges) this.#truncated = true;
      else this.#add({ path, kind: 'deleted', before: state });
    }
  }

  #judged(change: Finding): Change {
    const { path, after, before } = change;
    const { deniedBy, protectedBy, runs } = this.#input.judge(path);
    const pointer =
      isGitPointer(path) && [before, after].some((one) => one !== undefined && one.type !== 'dir');
    const guard = protectedBy ?? (pointer ? 'builtin.git' : undefined);
    const blocked =
      change.blocked ?? (deniedBy === undefined ? this.#placeProblem(change) : `${deniedBy} denies it`);
    return {
      ...change,
      ...(blocked === undefined ? {} : { blocked }),
      ...(guard === undefined ? {} : { protectedBy: guard }),
      ...(runs === undefined || change.kind === 'deleted' ? {} : { runs }),
    };
  }

  #placeProblem({ path, kind, after, before }: Finding): string | undefined {
    if (after?.type === 'symlink' && leavesTree(path, after.target, this.#links))
      return 'it leads out of the workspace';
    if (kind !== 'deleted' || before?.type !== 'dir') return undefined;
    const held = [...this.#input.manifest.withheld.keys()].some((one) => one.startsWith(`${path}/`));
    return held ? 'the directory holds what was not copied' : undefined;
  }
}

function isSame(stamp: Stamp | undefined, stat: BigIntStats): boolean {
  return (
    stamp !== undefined &&
    stamp.ino === stat.ino &&
    stamp.size === stat.size &&
    stamp.ctimeNs === stat.ctimeNs
  );
}

function nameProblem(
  name: string,
  { path, depth }: { readonly path: string; readonly depth: number },
): string | undefined {
  if (printablePath(name) !== name) return 'its name holds control characters, or is not UTF-8';
  if (depth > CAPS.reviewDepth || path.length > CAPS.reviewPathLength) return 'it lies too deep';
  return undefined;
}

function isBelow(path: string, dirs: ReadonlySet<string>): boolean {
  if (dirs.has('')) return true;
  for (let end = path.lastIndexOf('/'); end !== -1; end = path.lastIndexOf('/', end - 1))
    if (dirs.has(path.slice(0, end))) return true;
  return false;
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
