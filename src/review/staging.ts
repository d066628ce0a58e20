import { constants, copyFileSync, symlinkSync } from 'node:fs';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { pathToBytes, printablePath } from '../base/path-bytes.ts';
import { readFileAt, type Turns } from './content.ts';
import type { Change, Review } from './contract.ts';
import { at, statAt } from './descriptors.ts';
import { changeMode, ownLike } from './ownership.ts';
import { newName, type Bench } from './steps.ts';
import type { ReviewStore } from './store.ts';

/** Writes what is new beside its place; answers inodes by number of the change. */
export async function stageContents(
  store: ReviewStore,
  review: Review,
  { due, bench, turns }: { readonly due: readonly Change[]; readonly bench: Bench; readonly turns: Turns },
): Promise<ReadonlyMap<number, bigint>> {
  const inodes = new Map<number, bigint>();
  for (const [index, change] of due.entries()) {
    const { kind, after } = change;
    if (after === undefined || after.type === 'dir' || kind === 'mode' || kind === 'deleted') continue;
    const name = newName(index);
    const target = at(bench.staging, name);
    if (after.type === 'symlink') symlinkSync(pathToBytes(after.target), target);
    else await stageFile(store, review, { change, target, bench, name, turns });
    ownLike(bench.root, change.path, target);
    if (after.type === 'file') changeMode(target, after.mode);
    const ino = statAt(bench.staging, name)?.ino;
    if (ino !== undefined) inodes.set(index, ino);
    await turns.take();
  }
  return inodes;
}

async function stageFile(
  store: ReviewStore,
  review: Review,
  to: {
    readonly change: Change;
    readonly target: Buffer;
    readonly bench: Bench;
    readonly name: string;
    readonly turns: Turns;
  },
): Promise<void> {
  const { change, target, bench, name, turns } = to;
  if (change.content === undefined) throw damaged(review, change);
  const { COPYFILE_EXCL, COPYFILE_FICLONE } = constants;
  copyFileSync(store.content(review.id, change.content), target, COPYFILE_EXCL | COPYFILE_FICLONE);
  // What a person has read is what is written.
  const written = await readFileAt(bench.staging, name, { turns, most: CAPS.reviewBytes });
  if (change.after?.type !== 'file' || written?.sha256 !== change.after.sha256) throw damaged(review, change);
}

function damaged(review: Review, change: Change): GloveboxError {
  return new GloveboxError('E_IO', {
    what: `the review ${review.id} does not hold the content of ${printablePath(change.path)} any more`,
    next: 'Discard the review and run the command again.',
  });
}
