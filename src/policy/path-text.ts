import path from 'node:path';

/** Characters that make a path a pattern; braces and extended globs too, so that none is taken for a literal name by mistake. */
const GLOB = /[*?[{]|[@+!]\(/;

export type PathUse = 'read' | 'write' | 'deny' | 'protect';

/** True when a path of a policy is a pattern. */
export function isGlob(text: string): boolean {
  return GLOB.test(text);
}

export interface PathProblem {
  readonly why: string;
  readonly hint?: string;
}

/** Why a text cannot be a path of a policy, or undefined when it can. */
export function pathProblem(text: string, use: PathUse, literal: boolean): PathProblem | undefined {
  if (text === '') return { why: 'it is empty' };
  if (
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]/.test(withoutPairs(text))
  ) {
    return { why: 'it holds a control character, or half of a character' };
  }
  if (text.length > 4096) return { why: 'it is longer than a path can be (PATH_MAX)' };
  if (/^~[^/]/.test(text))
    return { why: 'only "~" and "~/…" are expanded', hint: text.replace(/^~[^/]*/, '~') };
  if (path.normalize(text) === '/' || text === '/**') return { why: 'it is the whole machine' };
  if (literal || !isGlob(text)) return undefined;
  if (use === 'read' || use === 'write') {
    return {
      why: 'patterns grant nothing: name the directory, or add `literal: true` when the name really holds these characters',
    };
  }
  if (text.includes('\\')) return { why: 'patterns have no escapes: use `literal: true` for one odd name' };
  if (text.split('/').includes('..')) return { why: 'a pattern may not climb with ".."' };
  return undefined;
}

/** Where relative paths start. */
export interface PathBase {
  readonly home: string;
  /** Absolute: the workspace for files, the current directory for the command line. */
  readonly base: string;
}

/** Absolute and normalised. Preconditions: `pathProblem` found nothing. */
export function resolvePath(text: string, from: PathBase): string {
  if (text === '~' || text.startsWith('~/')) return joinPath(from.home, text.slice(2));
  return text.startsWith('/') ? joinPath('/', text.slice(1)) : joinPath(from.base, text);
}

/** The directory that a pattern starts from, where it must not hold pattern characters itself. */
export function patternBase(text: string, from: PathBase): string {
  if (text.startsWith('~/')) return from.home;
  return text.startsWith('/') ? '/' : from.base;
}

function joinPath(base: string, rest: string): string {
  const joined = path.join(base, rest);
  return joined === '/' ? joined : joined.replace(/\/+$/, '');
}

/** The text without well-formed surrogate pairs, so that only lone halves are left to find. */
function withoutPairs(text: string): string {
  return text.replaceAll(/[\ud800-\udbff][\udc00-\udfff]/g, '');
}
