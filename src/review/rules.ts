import { isWithin, pathToBytes } from '../base/path-bytes.ts';
import { APPEARED_PATTERNS } from '../policy/protected.ts';
import type { ReviewRules, RulePattern } from './contract.ts';

/** What the rules say about a path below the workspace. */
export interface Judgement {
  /** The rule that denies it. */
  readonly deniedBy?: string;
  /** The rule that protects it. */
  readonly protectedBy?: string;
  readonly runs?: string;
}

export type Judge = (path: string) => Judgement;

/** What in a git directory decides what git runs, wherever the repository lies (gitrepository-layout(5)). */
const GIT_SINK =
  /(^|\/)\.git(\/(modules|worktrees)\/.+)?\/(hooks|config|config\.worktree|info\/attributes|commondir|gitdir)(\/|$)/i;

/** A `.git` that is no directory names another one. */
const GIT_POINTER = /(^|\/)\.git$/i;

/** The rules as a question. A name that comes up later is met by the patterns. */
export async function judgeOf(rules: ReviewRules): Promise<Judge> {
  const deny = await matcher(rules.denyGlobs);
  const protect = await matcher(rules.protectGlobs);
  return (path) => {
    const absolute = `${rules.workspace}/${path}`;
    const deniedBy = covering(rules.denied, absolute) ?? deny(absolute);
    const lifted = rules.lifted.some((one) => isWithin(absolute, one));
    const git = !lifted && GIT_SINK.test(path) ? 'builtin.git' : undefined;
    const protectedBy = covering(rules.protectedPaths, absolute) ?? protect(absolute) ?? git;
    const runs = runsBecause(path);
    return {
      ...(deniedBy === undefined ? {} : { deniedBy }),
      ...(protectedBy === undefined ? {} : { protectedBy }),
      ...(runs === undefined ? {} : { runs }),
    };
  };
}

/** True for a name that git would follow to another repository when it is a file or a link. */
export const isGitPointer = (path: string): boolean => GIT_POINTER.test(path);

/** Whether a path is one of the denied, or lies in one. */
export function covering(found: ReadonlyMap<string, string>, absolute: string): string | undefined {
  for (let at = absolute; at !== '/' && at !== ''; at = at.slice(0, Math.max(at.lastIndexOf('/'), 0))) {
    const rule = found.get(at);
    if (rule !== undefined) return rule;
  }
  return undefined;
}

/** The rule whose pattern matches the path or a directory above it. */
async function matcher(rules: readonly RulePattern[]): Promise<(absolute: string) => string | undefined> {
  if (rules.length === 0) return () => undefined;
  const { default: picomatch } = await import('picomatch');
  // One character a byte, as where the rules were expanded.
  const tests = rules.map(({ id, pattern }) => ({
    id,
    matches: picomatch(bytesAsText(pattern), { dot: true, nonegate: true }),
  }));
  return (absolute) => {
    for (let at = absolute; at !== ''; at = at.slice(0, Math.max(at.lastIndexOf('/'), 0))) {
      const text = bytesAsText(at);
      const found = tests.find(({ matches }) => matches(text));
      if (found !== undefined) return found.id;
    }
    return undefined;
  };
}

const bytesAsText = (text: string): string => pathToBytes(text).toString('latin1');

/** Why a program of the host may run or obey what has this name. */
function runsBecause(path: string): string | undefined {
  const parts = path.split('/');
  return APPEARED_PATTERNS.find(({ pattern }) => endsLike(parts, pattern.split('/')))?.why;
}

/** `*` is one whole component. */
function endsLike(parts: readonly string[], pattern: readonly string[]): boolean {
  if (parts.length < pattern.length) return false;
  const tail = parts.slice(parts.length - pattern.length);
  return pattern.every((word, i) => word === '*' || word === tail[i]);
}
