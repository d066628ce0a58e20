import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { isWithin, printablePath } from '../../base/path-bytes.ts';
import type { Review } from '../../review/contract.ts';
import { changeLine } from '../../review/show.ts';
import { Reviews } from '../../sandbox/reviews.ts';
import type { CliIo } from '../contract.ts';
import { parseWords, type OptionTable, type ParsedWords } from '../image/args.ts';

export async function listVerb(args: readonly string[], io: CliIo): Promise<number> {
  if (parseWords(args, {}, 'review').words.length > 0)
    throw new GloveboxError('E_USAGE', { what: 'review list takes no words' });
  const reviews = reviewsOf(io);
  const all = reviews.list();
  if (io.json) io.stdout.write(`${JSON.stringify({ reviews: all })}\n`);
  else for (const review of all) io.stdout.write(`${reviewLine(review, reviews)}\n`);
  return EXIT.ok;
}

export async function showVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { reviews, review, options } = named(args, io, { '--diff': 'switch' });
  const { words } = options;
  const paths = words.map((word) => insideWorkspace(review, word));
  const wanted =
    paths.length === 0
      ? review.changes
      : review.changes.filter((change) => paths.some((one) => isWithin(change.path, one)));
  if (io.json) {
    const changes = wanted.map((change) =>
      options.has('--diff') ? { ...change, diff: reviews.diff(review, change) } : change,
    );
    io.stdout.write(`${JSON.stringify({ ...review, changes })}\n`);
    return EXIT.ok;
  }
  io.stdout.write(`${reviewLine(review, reviews)}\n`);
  for (const change of wanted) {
    io.stdout.write(`${changeLine(change)}\n`);
    if (options.has('--diff')) io.stdout.write(reviews.diff(review, change));
  }
  return EXIT.ok;
}

export async function applyVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { reviews, review, options } = named(args, io, { '--protected': 'switch' });
  const paths = options.words.map((word) => insideWorkspace(review, word));
  const report = await reviews.apply(review.id, {
    ...(paths.length === 0 ? {} : { paths }),
    protectedToo: options.has('--protected'),
  });
  if (io.json) {
    io.stdout.write(`${JSON.stringify(report)}\n`);
    return EXIT.ok;
  }
  for (const change of report.applied) io.stdout.write(`${changeLine(change)}\n`);
  for (const { path: skipped, why } of report.skipped)
    io.stderr.write(`glovebox: left out ${printablePath(skipped)}: ${printablePath(why)}\n`);
  const rest = report.remaining === 0 ? '' : `; ${report.remaining} wait still`;
  io.stderr.write(
    `glovebox: ${report.applied.length} changes applied to ${printablePath(report.workspace)}${rest}\n`,
  );
  return EXIT.ok;
}

export async function discardVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { words } = parseWords(args, {}, 'review');
  const [id] = words;
  if (id === undefined || words.length > 1)
    throw new GloveboxError('E_USAGE', { what: 'name one review', next: 'Use: glovebox review discard ID' });
  await reviewsOf(io).discard(id);
  if (io.json) io.stdout.write(`${JSON.stringify({ discarded: id })}\n`);
  else io.stderr.write(`glovebox: ${id} is discarded; the workspace is as it was\n`);
  return EXIT.ok;
}

const reviewsOf = (io: CliIo): Reviews => new Reviews({ hostEnv: io.env });

interface Named {
  readonly reviews: Reviews;
  readonly review: Review;
  /** The words are those after the id. */
  readonly options: ParsedWords;
}

/** The review that the first word names, or the only one there is. */
function named(args: readonly string[], io: CliIo, table: OptionTable): Named {
  const options = parseWords(args, table, 'review');
  const reviews = reviewsOf(io);
  const [first, ...rest] = options.words;
  if (first !== undefined && first.startsWith('rev_'))
    return { reviews, review: reviews.get(first), options: { ...options, words: rest } };
  const all = reviews.list();
  const [only] = all;
  if (only !== undefined && all.length === 1) return { reviews, review: only, options };
  throw new GloveboxError('E_USAGE', {
    what: all.length === 0 ? 'no review waits' : `${all.length} reviews wait: name one`,
    next: 'See `glovebox review list`.',
  });
}

/** A path from the command line, below the workspace. */
function insideWorkspace({ workspace }: Review, word: string): string {
  const absolute = path.resolve(workspace, word);
  if (isWithin(absolute, workspace) && absolute !== workspace) return path.relative(workspace, absolute);
  throw new GloveboxError('E_USAGE', {
    what: `${printablePath(word)} does not lie in the workspace ${printablePath(workspace)}`,
    next: 'Name paths from the workspace, or none for all changes.',
  });
}

function reviewLine(review: Review, reviews: Reviews): string {
  const { id, changes, truncated, workspace, madeAt } = review;
  const state = reviews.isInterrupted(id) ? '  applying it was interrupted' : '';
  const count = `${changes.length}${truncated ? '+' : ''} changes`;
  const when = new Date(madeAt).toISOString().slice(0, 19);
  return `${id}  ${when}Z  ${count}  ${printablePath(workspace)}${state}`;
}
