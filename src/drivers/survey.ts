import path from 'node:path';
import { GloveboxError } from '../base/errors.ts';
import { isWithin, pathToBytes, printablePath, relativeInside } from '../base/path-bytes.ts';
import type { FilesystemPolicy, PathRule } from '../policy/contract.ts';
import { hostMounts, linkTarget, realPath, tryPathFact, type HostMount, type PathType } from './facts.ts';
import { gitSinks } from './git-dirs.ts';
import { walkTree } from './walk.ts';

/** An object that a rule guards, at its real place in a visible tree. */
export interface Guard {
  readonly action: 'deny' | 'protect';
  readonly path: string;
  readonly type: PathType;
  /** The visible tree that holds it. */
  readonly root: string;
  readonly rule: string;
}

/** A tree that the policy makes visible. */
export interface VisibleTree {
  /** Path inside the sandbox. */
  readonly target: string;
  /** Real path on the host. */
  readonly source: string;
  readonly writable: boolean;
  readonly rule: string;
}

/** Symlinks in a row that are followed: the kernel's own limit (path_resolution(7)). */
const LINK_DEPTH = 40;

interface SurveyState {
  readonly trees: readonly VisibleTree[];
  readonly mounts: readonly HostMount[];
  /** Latest first: the mount that a path is seen through. */
  readonly topMounts: readonly HostMount[];
  /** Real paths of parents: most guarded names share theirs. */
  readonly parents: Map<string, string | undefined>;
  readonly guards: Map<string, Guard>;
}

/**
 * Looks at the host for everything that `deny` and `protect` name, and says where it really lies: through symlinks,
 * hard links, other mounts of the same file system, and globs. Literal paths cost a few `lstat` each, whatever the size
 * of the workspace; only globs, denied files with several links, and trees beside the workspace are walked.
 */
export async function surveyGuards(
  filesystem: FilesystemPolicy,
  trees: readonly VisibleTree[],
): Promise<readonly Guard[]> {
  const mounts = hostMounts();
  const state: SurveyState = {
    trees,
    mounts,
    topMounts: mounts.toReversed(),
    parents: new Map(),
    guards: new Map(),
  };
  for (const rule of filesystem.protect) addRule(state, 'protect', rule);
  const lifted = new Set(filesystem.unprotect.map((rule) => rule.path));
  const writable = trees.filter((tree) => tree.writable).map((tree) => tree.source);
  for (const sink of writable.flatMap(gitSinks)) {
    if (!lifted.has(sink.path)) addPath(state, 'protect', sink.path, 'builtin.git');
  }
  for (const rule of filesystem.deny) {
    addRule(state, 'deny', rule);
    if (rule.origin.layer === 'command-line') refuseUseless(state, rule);
  }
  await addGlobs(state, filesystem);
  addHardLinks(state);
  hideSockets(state);
  return [...state.guards.values()];
}

/** A path that was just typed and lies in no visible tree is most likely meant relative to another directory. */
function refuseUseless(state: SurveyState, rule: PathRule): void {
  const place = locate(state, rule.glob ? literalPrefix(rule.path) : rule.path).path;
  if (
    deepestTree(state.trees, place) !== undefined ||
    state.trees.some((tree) => isWithin(tree.source, place))
  )
    return;
  throw new GloveboxError('E_POLICY_INVALID', {
    what: `--deny ${printablePath(rule.path)} would hide nothing`,
    why: 'it lies in no tree that the sandbox sees; relative paths start at the current directory',
    next: 'Name a path in the workspace, or leave it out.',
  });
}

function addRule(state: SurveyState, action: Guard['action'], rule: PathRule): void {
  if (!rule.glob) addPath(state, action, rule.path, rule.id);
}

function addPath(state: SurveyState, action: Guard['action'], target: string, rule: string): void {
  let place: string | undefined = target;
  for (let depth = 0; place !== undefined && depth < LINK_DEPTH; depth++) {
    const located = locate(state, place);
    const type = located.missing ? 'missing' : tryPathFact(located.path).type;
    for (const seen of aliases(state, located.path)) addGuard(state, { action, path: seen, type, rule });
    place = type === 'symlink' ? linkTarget(located.path) : undefined;
  }
}

/** The real parent plus the rest of the path, which may not exist yet. */
function locate(state: SurveyState, target: string): { readonly path: string; readonly missing: boolean } {
  const rest: string[] = [path.basename(target)];
  let parent = path.dirname(target);
  for (;;) {
    const real = realParent(state, parent);
    if (real !== undefined) return { path: path.join(real, ...rest), missing: rest.length > 1 };
    if (parent === '/') return { path: target, missing: true };
    rest.unshift(path.basename(parent));
    parent = path.dirname(parent);
  }
}

function realParent(state: SurveyState, parent: string): string | undefined {
  if (!state.parents.has(parent)) state.parents.set(parent, realPath(parent));
  return state.parents.get(parent);
}

/** The path itself and every other place where the same directory of the same file system is mounted. */
function aliases(state: SurveyState, target: string): readonly string[] {
  const home = state.topMounts.find((mount) => isWithin(target, mount.point));
  if (home === undefined) return [target];
  const onDevice = joinInside(home.root, relativeInside(target, home.point));
  const found = new Set([target]);
  for (const mount of state.mounts) {
    if (mount.device !== home.device || !isWithin(onDevice, mount.root)) continue;
    found.add(joinInside(mount.point, relativeInside(onDevice, mount.root)));
  }
  return [...found];
}

const joinInside = (outer: string, rest: string): string =>
  rest === '' ? outer : `${outer === '/' ? '' : outer}/${rest}`;

function addGuard(state: SurveyState, found: Omit<Guard, 'root'>): void {
  const tree = deepestTree(state.trees, found.path);
  if (tree === undefined) return;
  if (found.type === 'missing' && !tree.writable) return;
  const earlier = state.guards.get(found.path);
  if (earlier?.action === 'deny') return;
  state.guards.set(found.path, { ...found, root: tree.source });
}

function deepestTree(trees: readonly VisibleTree[], target: string): VisibleTree | undefined {
  let best: VisibleTree | undefined;
  for (const tree of trees) {
    if (isWithin(target, tree.source) && tree.source.length > (best?.source.length ?? -1)) best = tree;
  }
  return best;
}

async function addGlobs(state: SurveyState, filesystem: FilesystemPolicy): Promise<void> {
  const globs = [
    ...filesystem.protect.filter((rule) => rule.glob).map((rule) => ({ action: 'protect' as const, rule })),
    ...filesystem.deny.filter((rule) => rule.glob).map((rule) => ({ action: 'deny' as const, rule })),
  ];
  if (globs.length === 0) return;
  const { default: picomatch } = await import('picomatch');
  for (const { action, rule } of globs) {
    const real = realPattern(rule.path);
    if (real === undefined) continue;
    const { base, pattern } = real;
    const matches = picomatch(bytesAsText(pattern), { dot: true, nonegate: true });
    for (const root of globRoots(state, base)) expandGlob(state, { action, rule, root, matches });
  }
}

/** A pattern that starts with a real path, because what is found has one; undefined where its directory does not exist. */
export function realPattern(glob: string): { readonly base: string; readonly pattern: string } | undefined {
  const prefix = literalPrefix(glob);
  const base = realPath(prefix);
  if (base === undefined) return undefined;
  return { base, pattern: joinInside(escapeGlob(base), glob.slice(prefix === '/' ? 1 : prefix.length + 1)) };
}

/** The tree that holds the pattern's directory, or every tree below it. */
function globRoots(state: SurveyState, base: string): readonly string[] {
  if (deepestTree(state.trees, base) !== undefined) return [base];
  return state.trees.filter((tree) => isWithin(tree.source, base)).map((tree) => tree.source);
}

const escapeGlob = (literal: string): string => literal.replaceAll(/[\\*?[\]{}()!+@|]/g, String.raw`\$&`);

interface GlobSearch {
  readonly action: Guard['action'];
  readonly rule: PathRule;
  readonly root: string;
  readonly matches: (candidate: string) => boolean;
}

function expandGlob(state: SurveyState, search: GlobSearch): void {
  const { action, rule } = search;
  walkTree(
    search.root,
    (entry) => {
      if (!search.matches(bytesAsText(entry.path))) return true;
      addGuard(state, { action, path: entry.path, type: entry.type, rule: rule.id });
      if (entry.type === 'symlink') addPath(state, action, entry.path, rule.id);
      return false;
    },
    (dir) => {
      // The owner may make it readable again, also from inside: what cannot be searched is hidden whole.
      if (dir !== search.root)
        addGuard(state, { action: 'deny', path: dir, type: 'dir', rule: `${rule.id} (unreadable)` });
    },
  );
}

/** One character a byte, so that a pattern also meets names that are not UTF-8. */
const bytesAsText = (text: string): string => pathToBytes(text).toString('latin1');

/** The longest leading directory without a glob character. */
export function literalPrefix(glob: string): string {
  const segments = glob.split('/');
  const first = segments.findIndex((segment) => /[*?[\]{}()!]/.test(segment));
  return segments.slice(0, first === -1 ? undefined : first).join('/') || '/';
}

/** Other names of guarded files, in the trees that are not the base system. */
function addHardLinks(state: SurveyState): void {
  const wanted = new Map<string, Guard>();
  const want = (guard: Guard, file: string): void => {
    const fact = tryPathFact(file);
    if (fact.type === 'file' && fact.nlink > 1) wanted.set(`${fact.dev}:${fact.ino}`, guard);
  };
  for (const guard of state.guards.values()) {
    if (guard.type === 'file') want(guard, guard.path);
    if (guard.type !== 'dir') continue;
    walkTree(guard.path, (entry) => {
      if (entry.type === 'file') want(guard, entry.path);
      return true;
    });
  }
  if (wanted.size === 0) return;
  for (const tree of state.trees) {
    if (isWithin(tree.source, '/usr')) continue;
    walkTree(tree.source, (entry) => {
      if (entry.type === 'file') addLink(state, entry.path, wanted);
      return true;
    });
  }
}

/**
 * Sockets of the host in trees that the policy shares: connect(2) needs no write permission on the mount, and whoever
 * answers acts outside. The workspace is the project's own and is left as it is.
 */
function hideSockets(state: SurveyState): void {
  for (const tree of state.trees) {
    if (tree.rule === 'filesystem.workspace' || isWithin(tree.source, '/usr')) continue;
    walkTree(tree.source, (entry) => {
      if (entry.type === 'socket')
        addGuard(state, { action: 'deny', path: entry.path, type: 'socket', rule: tree.rule });
      return true;
    });
  }
}

function addLink(state: SurveyState, found: string, wanted: ReadonlyMap<string, Guard>): void {
  const fact = tryPathFact(found);
  const guard = fact.nlink > 1 ? wanted.get(`${fact.dev}:${fact.ino}`) : undefined;
  if (guard === undefined || isWithin(found, guard.path)) return;
  addGuard(state, { action: guard.action, path: found, type: 'file', rule: `${guard.rule} (hard link)` });
}
