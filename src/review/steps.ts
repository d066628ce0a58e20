import { linkSync, mkdirSync, renameSync, rmdirSync, unlinkSync } from 'node:fs';
import { z } from 'zod';
import { GloveboxError, systemCode } from '../base/errors.ts';
import type { Change } from './contract.ts';
import type { Looked } from './check.ts';
import { at, inParent, leadsNowhere, statAt } from './descriptors.ts';
import { changeMode, ownLike } from './ownership.ts';

const PATH = z.string();
const INDEX = z.number().int();
const MODE = z.number().int();

/**
 * Moves of an application, as its journal has them. What a move needs to be undone is in it and in the staging directory: `remove` takes the
 * old one there as `old-N`; `put` brings `new-N` from there, whose inode it names, and keeps what it replaces as `old-N`.
 */
export const STEPS = z.array(
  z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('remove'), path: PATH, index: INDEX }),
    z.strictObject({ kind: z.literal('rmdir'), path: PATH, mode: MODE }),
    z.strictObject({ kind: z.literal('mkdir'), path: PATH }),
    z.strictObject({
      kind: z.literal('put'),
      path: PATH,
      index: INDEX,
      replaces: z.boolean(),
      ino: z.string(),
    }),
    z.strictObject({ kind: z.literal('chmod'), path: PATH, mode: MODE, was: MODE, dir: z.boolean() }),
  ]),
);

export type Step = z.infer<typeof STEPS>[number];

/** Open directories that steps work in. */
export interface Bench {
  readonly root: number;
  readonly staging: number;
}

export const newName = (index: number): string => `new-${index}`;
export const oldName = (index: number): string => `old-${index}`;

/** The moves that make the changes, in an order in which each finds what it needs. `inodes`: those of what is to be put there. */
export function stepsOf(due: readonly Change[], inodes: ReadonlyMap<number, bigint>): readonly Step[] {
  const deepestFirst = [...due].toSorted((a, b) => depth(b.path) - depth(a.path));
  const outermostFirst = deepestFirst.toReversed();
  const index = new Map(due.map((change, i) => [change, i]));
  const number = (change: Change): number => index.get(change) ?? 0;
  const removed = deepestFirst.filter(({ kind }) => kind === 'deleted');
  const steps: Step[] = [];
  for (const change of removed)
    if (change.before?.type !== 'dir')
      steps.push({ kind: 'remove', path: change.path, index: number(change) });
  for (const { path, before } of removed)
    if (before?.type === 'dir') steps.push({ kind: 'rmdir', path, mode: before.mode });
  const made = outermostFirst.filter(({ kind, after }) => kind === 'added' && after?.type === 'dir');
  for (const { path } of made) steps.push({ kind: 'mkdir', path });
  for (const change of outermostFirst) {
    const ino = inodes.get(number(change));
    if (ino === undefined) continue;
    const replaces = change.kind === 'modified';
    steps.push({ kind: 'put', path: change.path, index: number(change), replaces, ino: String(ino) });
  }
  // Last, and from the inside out: a directory may end up one that nobody may write to.
  for (const { path, kind, before, after } of deepestFirst) {
    if (after === undefined || after.type === 'symlink') continue;
    if (kind === 'mode' && before !== undefined && before.type !== 'symlink')
      steps.push({ kind: 'chmod', path, mode: after.mode, was: before.mode, dir: after.type === 'dir' });
    else if (kind === 'added' && after.type === 'dir')
      steps.push({ kind: 'chmod', path, mode: after.mode, was: 0o700, dir: true });
  }
  return steps;
}

const depth = (path: string): number => path.split('/').length;

/** Makes one move. @throws E_REVIEW_CONFLICT when what is there is not what was looked at; the system's errors */
export function makeStep(step: Step, { root, staging }: Bench, looked: ReadonlyMap<string, Looked>): void {
  inParent(root, step.path, (dir, name) => {
    const target = at(dir, name);
    switch (step.kind) {
      case 'remove': {
        const old = oldName(step.index);
        renameSync(target, at(staging, old));
        return sameAsLooked(step.path, { dir: staging, name: old }, looked);
      }
      case 'rmdir':
        return rmdirSync(target);
      case 'mkdir':
        mkdirSync(target, { mode: 0o700 });
        return ownLike(dir, '', target);
      case 'put': {
        if (!step.replaces) return linkSync(at(staging, newName(step.index)), target);
        const old = oldName(step.index);
        linkSync(target, at(staging, old));
        sameAsLooked(step.path, { dir: staging, name: old }, looked);
        return renameSync(at(staging, newName(step.index)), target);
      }
      case 'chmod':
        return changeMode(target, step.mode);
    }
  });
}

/** Takes moves back, last first, whether they were made or not. What somebody else put there meanwhile stays. */
export function undoSteps(steps: readonly Step[], bench: Bench): void {
  // Where the way there is gone, the move was not made, or its place is no more.
  const lenient = (step: Step, work: (step: Step, bench: Bench) => void): void => {
    try {
      work(step, bench);
    } catch (error) {
      if (!leadsNowhere(error)) throw error;
    }
  };
  for (const step of steps.toReversed()) lenient(step, undoStep);
  // A directory gets its mode when everything is back in it.
  for (const step of steps) if (step.kind === 'rmdir') lenient(step, restoreMode);
}

function restoreMode(step: Step, { root }: Bench): void {
  if (step.kind === 'rmdir') inParent(root, step.path, (dir, name) => changeMode(at(dir, name), step.mode));
}

function undoStep(step: Step, { root, staging }: Bench): void {
  inParent(root, step.path, (dir, name) => {
    const target = at(dir, name);
    switch (step.kind) {
      case 'remove':
        if (statAt(dir, name) === undefined)
          unless(() => renameSync(at(staging, oldName(step.index)), target));
        return;
      case 'rmdir':
        return unless(() => {
          mkdirSync(target, { mode: 0o700 });
          ownLike(dir, '', target);
        }, 'EEXIST');
      case 'mkdir':
        return unless(() => rmdirSync(target), 'ENOTEMPTY', 'ENOTDIR');
      case 'put': {
        if (String(statAt(dir, name)?.ino) !== step.ino) return;
        if (step.replaces) return unless(() => renameSync(at(staging, oldName(step.index)), target));
        return unless(() => unlinkSync(target));
      }
      case 'chmod':
        // Before its turn came, something else may have stood there.
        if (statAt(dir, name)?.isDirectory() === step.dir) unless(() => changeMode(target, step.was));
    }
  });
}

function sameAsLooked(
  path: string,
  { dir, name }: { readonly dir: number; readonly name: string },
  looked: ReadonlyMap<string, Looked>,
): void {
  const stat = statAt(dir, name);
  const was = looked.get(path);
  if (stat !== undefined && stat.ino === was?.ino && stat.size === was.size && stat.mtimeNs === was.mtimeNs)
    return;
  throw new GloveboxError('E_REVIEW_CONFLICT', { what: `${path} changed on the host while it was applied` });
}

function unless(work: () => void, ...allowed: readonly string[]): void {
  try {
    work();
  } catch (error) {
    if (!['ENOENT', ...allowed].includes(systemCode(error) ?? '')) throw error;
  }
}
