import { CAPS } from '../../base/caps.ts';
import { changeLine } from '../../review/show.ts';
import type { ReviewOutcome } from '../../sandbox/review-copy.ts';

/** What is said at the end of a command that worked on a copy. */
export function reviewText({ id, changes, truncated, lost }: ReviewOutcome): string {
  const missing = lost === undefined ? '' : `\n  what it changed last is lost: ${lost}`;
  if (id === undefined) return `the command changed nothing in its copy of the workspace${missing}`;
  const shown = changes.slice(0, CAPS.appearedShown).map((change) => `\n  ${changeLine(change)}`);
  const more = changes.length - shown.length;
  const rest = more > 0 ? `\n  and ${more} more` : '';
  const count = `${changes.length}${truncated ? ' and more' : ''}`;
  return (
    `${id}: ${count} changes wait for you, the workspace is as it was${missing}${shown.join('')}${rest}` +
    `\n  glovebox review show ${id} --diff, then apply or discard`
  );
}
