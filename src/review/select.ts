import { GloveboxError } from '../base/errors.ts';
import { isWithin } from '../base/path-bytes.ts';
import type { Change, Review } from './contract.ts';

export interface Selection {
  readonly chosen: readonly Change[];
  /** Asked for and not to be applied. */
  readonly skipped: readonly { readonly path: string; readonly why: string }[];
}

export interface SelectOptions {
  /** Below the workspace; a directory stands for everything in it. Absent: all. */
  readonly paths?: readonly string[];
  /** Also what a rule of the policy protects. */
  readonly protectedToo?: boolean;
}

/**
 * What of a review is to be applied.
 *
 * @throws E_USAGE for a path without a change; E_REVIEW_TOO_LARGE for all of one that was cut
 */
export function selectChanges(review: Review, { paths, protectedToo = false }: SelectOptions): Selection {
  if (review.truncated && paths === undefined)
    throw new GloveboxError('E_REVIEW_TOO_LARGE', {
      what: `the review ${review.id} does not hold every change`,
      why: 'there were more than are kept',
      next: 'Name the paths to apply.',
    });
  const wanted =
    paths === undefined ? review.changes : review.changes.filter(({ path }) => isNamed(path, paths));
  for (const path of paths ?? [])
    if (!wanted.some((change) => isWithin(change.path, path)))
      throw new GloveboxError('E_USAGE', { what: `the review ${review.id} has no change at ${path}` });
  const skipped = wanted.flatMap((change) => {
    const why = whyNot(change, protectedToo);
    return why === undefined ? [] : [{ path: change.path, why }];
  });
  const chosen = wanted.filter((change) => whyNot(change, protectedToo) === undefined);
  return { chosen: withParents(review, chosen), skipped };
}

const isNamed = (path: string, named: readonly string[]): boolean => named.some((one) => isWithin(path, one));

function whyNot({ blocked, protectedBy }: Change, protectedToo: boolean): string | undefined {
  if (blocked !== undefined) return blocked;
  return protectedBy === undefined || protectedToo ? undefined : `${protectedBy} protects it: --protected`;
}

/** A new file needs the new directories above it. */
function withParents(review: Review, chosen: readonly Change[]): readonly Change[] {
  const made = new Set(chosen.filter(({ kind }) => kind === 'added').map(({ path }) => path));
  const above = new Set([...made].flatMap(parentsOf).filter((path) => !made.has(path)));
  const parents = review.changes.filter(
    ({ path, kind, after, blocked }) =>
      above.has(path) && kind === 'added' && after?.type === 'dir' && blocked === undefined,
  );
  return [...parents, ...chosen];
}

export function parentsOf(path: string): readonly string[] {
  const parents: string[] = [];
  for (let end = path.lastIndexOf('/'); end !== -1; end = path.lastIndexOf('/', end - 1))
    parents.push(path.slice(0, end));
  return parents;
}
