import { foldCase } from './http-path-case.ts';
import { canonicalPath, spellLiteral } from './http-path.ts';

/** A path pattern, ready to match canonical paths. Time is at most the product of both lengths. */
export interface PathGlob {
  /** As the policy has it. */
  readonly text: string;
  /** Precondition: `path` came out of `canonicalPath`. */
  matches(path: string): boolean;
}

export type GlobResult =
  | { readonly ok: true; readonly glob: PathGlob }
  | { readonly ok: false; readonly why: string };

type Segment =
  | { readonly kind: 'literal'; readonly text: string }
  /** `parts` stood between stars: at least two. `some`: a lone star, which is never an empty segment. */
  | { readonly kind: 'star'; readonly parts: readonly string[]; readonly some: boolean }
  | { readonly kind: 'any' };

const GLOB_MAX = 2_048;

/**
 * Compiles a pattern: `*` stands for one segment or a part of one, `**` for any number of segments, also none. Nothing else is special.
 * `allow` compares exactly. `deny` compares without case, takes `%2F` for a slash too, and does not mind a final slash: a refusal
 * must hold for every path that an origin may take for the refused one.
 */
export function parsePathGlob(text: string, use: 'allow' | 'deny'): GlobResult {
  const why = problemOf(text);
  if (why !== undefined) return { ok: false, why };
  const segments = text
    .slice(1)
    .split('/')
    .map(use === 'allow' ? readSegment : readFolded);
  const matches =
    use === 'allow'
      ? (path: string) => matchSegments(segments, path.slice(1).split('/'))
      : (path: string) => readings(path).some((reading) => matchSegments(segments, reading));
  return { ok: true, glob: { text, matches } };
}

/** True when a path is canonical and one of the patterns allows it: for callers that did not make the path themselves. */
export function allowsPath(globs: readonly PathGlob[], path: string): boolean {
  const canonical = canonicalPath(path, 'allow');
  return canonical.ok && canonical.path === path && globs.some((glob) => glob.matches(path));
}

function problemOf(text: string): string | undefined {
  if (!text.startsWith('/')) return 'a path pattern begins with "/"';
  if (text.length > GLOB_MAX) return `a path pattern over ${GLOB_MAX} characters`;
  if (/[%\\?#]/.test(text))
    return 'a path pattern holds no "%", "\\", "?" or "#": it is compared with the decoded path';
  if (/[\x00-\x1f\x7f]/.test(text) || /\p{Surrogate}/u.test(text))
    return 'a path pattern holds printable characters only';
  const segments = text.slice(1).split('/');
  if (segments.some((segment, i) => segment === '' && i < segments.length - 1))
    return 'a path pattern has no empty segment';
  if (segments.some((segment) => segment === '.' || segment === '..'))
    return 'a path pattern has no "." or ".." segment';
  if (segments.some((segment) => segment.includes('**') && segment !== '**'))
    return '"**" stands alone between slashes';
  return undefined;
}

function readSegment(text: string): Segment {
  if (text === '**') return { kind: 'any' };
  const parts = text.split('*').map(spellLiteral);
  if (parts.length === 1) return { kind: 'literal', text: parts[0] ?? '' };
  return { kind: 'star', parts, some: text === '*' };
}

function readFolded(text: string): Segment {
  return readSegment(foldCase(text));
}

/** What an origin that decodes too early takes for the end of the path. */
const EARLY_END = /%(?:3F|23).*$/;
/** What some file systems and frameworks drop at the end of a name: dots, blanks, invisible characters. */
const DROPPED_END = /(?:\.|%20|%C2%A0|%E2%80%8[B-D]|%EF%BB%BF)+(?=\/|$)/g;

/** Nothing in such a path is folded, decoded or dropped by anybody. */
const ONE_READING = /^[a-z0-9/_-]*$/;

/** The folded path with `%2F` as one character of its segment and as a slash, each without its final slash, whole and as less careful readers take it. */
function readings(path: string): string[][] {
  if (ONE_READING.test(path)) return [path.replace(/\/$/, '').slice(1).split('/')];
  const parts = path.split('%2F').map((part) => spellLiteral(foldCase(decodeURIComponent(part))));
  const spellings = parts.length === 1 ? parts : [parts.join('%2F'), parts.join('/')];
  const texts = new Set(spellings);
  for (const text of spellings) {
    const cut = text.replace(EARLY_END, '');
    texts.add(cut).add(text.replaceAll(DROPPED_END, '')).add(cut.replaceAll(DROPPED_END, ''));
  }
  return [...texts].map((text) => text.replace(/\/$/, '').slice(1).split('/'));
}

/** Greedy, with a return to the last `**` only: that is enough, for what an earlier one could take a later one can take too. */
function matchSegments(pattern: readonly Segment[], path: readonly string[]): boolean {
  let p = 0;
  let s = 0;
  let star = -1;
  let mark = 0;
  while (s < path.length) {
    const segment = pattern[p];
    if (segment?.kind === 'any') {
      star = p++;
      mark = s;
    } else if (segment !== undefined && matchOne(segment, path[s] ?? '')) {
      p++;
      s++;
    } else if (star >= 0) {
      p = star + 1;
      s = ++mark;
    } else return false;
  }
  while (pattern[p]?.kind === 'any') p++;
  return p === pattern.length;
}

function matchOne(segment: Segment, text: string): boolean {
  if (segment.kind === 'any') return true;
  if (segment.kind === 'literal') return segment.text === text;
  if (segment.some && text === '') return false;
  const [first = '', ...rest] = segment.parts;
  const last = rest.pop() ?? '';
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last))
    return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}
