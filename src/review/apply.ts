import { closeSync, mkdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { withFileLock } from '../base/file-lock.ts';
import { printablePath } from '../base/path-bytes.ts';
import { removeTree } from '../base/remove-tree.ts';
import { checkChanges, type Checked } from './check.ts';
import { Turns } from './content.ts';
import type { Change, Review } from './contract.ts';
import { at, openDirAt, openRoot, statAt } from './descriptors.ts';
import { selectChanges, type Selection, type SelectOptions } from './select.ts';
import { stageContents } from './staging.ts';
import { makeStep, STEPS, stepsOf, undoSteps, type Step } from './steps.ts';
import type { ReviewStore } from './store.ts';

export interface ApplyReport extends Pick<Selection, 'skipped'> {
  readonly workspace: string;
  readonly applied: readonly Change[];
  /** Changes that the review still holds; 0: it is gone. */
  readonly remaining: number;
}

/**
 * Makes the changes of a review in the workspace of the host: all that were chosen, or none. Each is compared with what the sandbox was given, written
 * beside its place and put there by rename(2). One that was interrupted is taken back first.
 *
 * @throws E_REVIEW_NOT_FOUND, E_REVIEW_CONFLICT with `context.conflicts`, E_REVIEW_TOO_LARGE, E_USAGE; E_IO when it failed and was taken back
 */
export function applyReview(
  store: ReviewStore,
  id: string,
  options: SelectOptions = {},
): Promise<ApplyReport> {
  return locked(store, id, async () => {
    const review = store.get(id);
    await takeBack(store, review);
    const { chosen, skipped } = selectChanges(review, options);
    const turns = new Turns();
    const checked = await checkChanges(review.workspace, chosen, turns);
    if (checked.conflicts.length > 0) throw conflict(checked);
    if (checked.due.length > 0) await carryOut(store, review, { checked, turns });
    const done = new Set(chosen);
    const left = review.changes.filter((change) => !done.has(change));
    const remaining = left.some(({ blocked }) => blocked === undefined) ? left.length : 0;
    if (remaining > 0) store.update({ ...review, changes: left });
    else await store.remove(id);
    return { workspace: review.workspace, applied: chosen, skipped, remaining };
  });
}

/** Forgets a review; an application that was interrupted is taken back first. @throws E_REVIEW_NOT_FOUND */
export function discardReview(store: ReviewStore, id: string): Promise<void> {
  return locked(store, id, async () => {
    if (isBegun(store, id)) await takeBack(store, store.get(id));
    await store.remove(id);
  });
}

/** True when an application was interrupted half-way. */
export function isBegun(store: ReviewStore, id: string): boolean {
  return readJournal(store, id) !== undefined;
}

async function locked<T>(store: ReviewStore, id: string, work: () => Promise<T>): Promise<T> {
  store.directory(id);
  return withFileLock(store.lockFile(id), { waitMs: 10_000, busy: 'applying this review' }, work);
}

/** Beside the files, so that what is made there can be renamed into its place. */
const stagingName = (review: Review): string => `.glovebox-${review.id}`;

async function carryOut(
  store: ReviewStore,
  review: Review,
  { checked, turns }: { readonly checked: Checked; readonly turns: Turns },
): Promise<void> {
  const root = openRoot(review.workspace);
  try {
    mkdirSync(at(root, stagingName(review)), { mode: 0o700 });
    const staging = openDirAt(root, stagingName(review));
    try {
      const inodes = await stageContents(store, review, {
        due: checked.due,
        bench: { root, staging },
        turns,
      });
      const steps = stepsOf(checked.due, inodes);
      writeJournal(store, review.id, steps);
      for (const step of steps) {
        makeStep(step, { root, staging }, checked.looked);
        await turns.take();
      }
      // From here on it is done: what is left is to tidy up.
      unlinkSync(store.journal(review.id));
    } finally {
      closeSync(staging);
    }
  } catch (error) {
    await takeBack(store, review);
    if (error instanceof GloveboxError) throw error;
    throw new GloveboxError('E_IO', {
      what: 'the changes could not be applied; everything is as it was before',
      why: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  } finally {
    closeSync(root);
  }
  await removeTree(stagingPath(review));
}

const stagingPath = (review: Review): string => path.join(review.workspace, stagingName(review));

/** Takes back what an interrupted application did. Nothing to do, and nothing to fear, when there was none. */
async function takeBack(store: ReviewStore, review: Review): Promise<void> {
  const steps = readJournal(store, review.id);
  const root = openRoot(review.workspace);
  try {
    if (statAt(root, stagingName(review)) === undefined) {
      if (steps !== undefined) unlinkSync(store.journal(review.id));
      return;
    }
    if (steps !== undefined) {
      const staging = openDirAt(root, stagingName(review));
      try {
        undoSteps(steps, { root, staging });
      } finally {
        closeSync(staging);
      }
      unlinkSync(store.journal(review.id));
    }
  } finally {
    closeSync(root);
  }
  await removeTree(stagingPath(review));
}

function writeJournal(store: ReviewStore, id: string, steps: readonly Step[]): void {
  const draft = `${store.journal(id)}.new`;
  writeFileSync(draft, JSON.stringify(steps), { mode: 0o600 });
  renameSync(draft, store.journal(id));
}

function readJournal(store: ReviewStore, id: string): readonly Step[] | undefined {
  let text: string;
  try {
    text = readFileSync(store.journal(id), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  return STEPS.parse(JSON.parse(text));
}

function conflict({ conflicts }: Checked): GloveboxError {
  const shown = conflicts
    .slice(0, CAPS.appearedShown)
    .map(({ path: where, why }) => `${printablePath(where)} (${why})`);
  const more = conflicts.length - shown.length;
  return new GloveboxError('E_REVIEW_CONFLICT', {
    what: 'nothing was applied: the workspace is not what the sandbox was given',
    why: `${shown.join(', ')}${more > 0 ? `, and ${more} more` : ''}`,
    context: { conflicts },
  });
}
