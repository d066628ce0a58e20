import { readFileSync } from 'node:fs';
import path from 'node:path';
import { CAPS } from '../base/caps.ts';
import { GIT_INTERNAL } from '../policy/protected.ts';
import { tryPathFact } from './facts.ts';
import { listDirectory } from './walk.ts';

/** A path of a git repository that makes git run something, and whether it is there. */
export interface GitSink {
  readonly path: string;
  readonly why: string;
}

/** What every git directory is guarded for; its submodules and worktrees are found by looking, below. */
const SINKS = GIT_INTERNAL.filter((entry) => !entry.name.includes('*'));

/** Children of the workspace that are looked into for a repository of their own. */
const CHILDREN_CAP = 10_000;
/** `modules/` nests by the submodule's path. */
const MODULE_DEPTH = 6;

/**
 * The execution sinks of every git directory known at the start: the workspace's own, those of its direct children,
 * and the submodules and worktrees they hold. Deeper repositories are reported when they appear, not searched for:
 * the start must not depend on the size of the tree.
 */
export function gitSinks(workspace: string): readonly GitSink[] {
  const roots = [workspace, ...childDirectories(workspace).slice(0, CHILDREN_CAP)];
  const sinks: GitSink[] = [];
  for (const root of roots) sinks.push(...repositorySinks(root));
  return sinks;
}

function childDirectories(dir: string): readonly string[] {
  return listDirectory(dir)
    .filter((entry) => entry.type === 'dir')
    .map((entry) => entry.path);
}

function repositorySinks(root: string): readonly GitSink[] {
  if (isGitDirectory(root)) return gitDirectorySinks(root, root);
  const dotGit = path.join(root, '.git');
  const type = tryPathFact(dotGit).type;
  if (type === 'missing') return [];
  if (type === 'dir') return gitDirectorySinks(dotGit, root);
  const pointer = { path: dotGit, why: 'points git at its directory' };
  const target = type === 'file' ? gitFileTarget(dotGit) : undefined;
  if (target === undefined) return [pointer];
  const common = smallFile(path.join(target, 'commondir')).trim();
  const shared = common === '' ? [] : gitDirectorySinks(path.resolve(target, common), root);
  return [pointer, ...gitDirectorySinks(target, root), ...shared];
}

/** A bare repository, or a git directory that was shared by itself. */
function isGitDirectory(dir: string): boolean {
  return ['HEAD', 'objects', 'refs'].every((name) => tryPathFact(path.join(dir, name)).type !== 'missing');
}

/** The directory a `.git` file names (`gitdir: PATH`). */
function gitFileTarget(file: string): string | undefined {
  const match = /^gitdir: (.+)$/m.exec(smallFile(file));
  return match?.[1] === undefined ? undefined : path.resolve(path.dirname(file), match[1].trim());
}

function gitDirectorySinks(gitDir: string, root: string): readonly GitSink[] {
  const own = SINKS.map(({ name, why }) => ({ path: path.join(gitDir, name), why }));
  return [
    ...own,
    ...configuredSinks(path.join(gitDir, 'config'), root),
    ...worktreeSinks(path.join(gitDir, 'worktrees')),
    ...moduleSinks(path.join(gitDir, 'modules'), root, MODULE_DEPTH),
  ];
}

/** Hook directories and included files that the configuration names inside the repository. */
function configuredSinks(config: string, root: string): readonly GitSink[] {
  const sinks: GitSink[] = [];
  for (const match of smallFile(config).matchAll(/(?:^|\])\s*(hooksPath|path)\s*=\s*"?([^"\n#;]+)"?/gim)) {
    const [, key, value] = match;
    if (key === undefined || value === undefined || value.startsWith('~')) continue;
    const base = key.toLowerCase() === 'hookspath' ? root : path.dirname(config);
    sinks.push({ path: path.resolve(base, value.trim()), why: `${key} of ${config} names it` });
  }
  return sinks;
}

function worktreeSinks(dir: string): readonly GitSink[] {
  const names = ['config.worktree', 'commondir', 'gitdir'];
  return childDirectories(dir).flatMap((tree) =>
    names.map((name) => ({ path: path.join(tree, name), why: 'settings of a linked worktree' })),
  );
}

function moduleSinks(dir: string, root: string, depth: number): readonly GitSink[] {
  if (depth === 0) return [];
  return childDirectories(dir).flatMap((child) =>
    tryPathFact(path.join(child, 'HEAD')).type === 'missing'
      ? moduleSinks(child, root, depth - 1)
      : gitDirectorySinks(child, root),
  );
}

/** A file that a person wrote; anything larger, or unreadable, counts as empty. */
function smallFile(file: string): string {
  try {
    if (tryPathFact(file).type !== 'file') return '';
    const text = readFileSync(file, 'utf8');
    return text.length > CAPS.policyFileBytes ? '' : text;
  } catch {
    return '';
  }
}
