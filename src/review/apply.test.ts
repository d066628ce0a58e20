import {
  chmodSync,
  closeSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { applyReview, discardReview, isBegun } from './apply.ts';
import { checkChanges } from './check.ts';
import { Turns } from './content.ts';
import { openDirAt, openRoot } from './descriptors.ts';
import { briefly, ReviewFixture, treeOf } from './fixture.ts';
import { stageContents } from './staging.ts';
import { makeStep, stepsOf, undoSteps } from './steps.ts';

/** Every kind of change that is applied. */
async function allKinds(): Promise<ReviewFixture> {
  const fixture = new ReviewFixture({
    changed: 'old',
    gone: 'x',
    'dir/a/b': 'x',
    mode: 'x',
    type: 'x',
    'folder/x': 'x',
    kept: 'x',
  });
  symlinkSync('changed', fixture.at('link'));
  await fixture.start();
  writeFileSync(fixture.inside('changed'), 'new');
  unlinkSync(fixture.inside('gone'));
  rmSync(fixture.inside('dir'), { recursive: true });
  chmodSync(fixture.inside('mode'), 0o755);
  unlinkSync(fixture.inside('type'));
  fixture.write(fixture.copy, 'type/now/a', 'directory');
  rmSync(fixture.inside('folder'), { recursive: true });
  writeFileSync(fixture.inside('folder'), 'now a file');
  unlinkSync(fixture.inside('link'));
  symlinkSync('mode', fixture.inside('link'));
  fixture.write(fixture.copy, 'fresh/deep/file', 'fresh');
  chmodSync(fixture.inside('fresh/deep'), 0o555);
  return fixture;
}

describe('applying a review', () => {
  it('makes the workspace what the copy is, and the review is gone', async () => {
    using fixture = await allKinds();
    const { id } = await fixture.review();
    const report = await applyReview(fixture.store, id);
    expect(report).toMatchObject({ skipped: [], remaining: 0 });
    expect(treeOf(fixture.workspace)).toEqual(treeOf(fixture.copy));
    expect(fixture.store.list()).toEqual([]);
    chmodSync(fixture.at('fresh/deep'), 0o755);
  });

  it('takes what was named, with the directories it needs, and keeps the rest', async () => {
    using fixture = new ReviewFixture({ a: 'x' });
    await fixture.start();
    fixture.write(fixture.copy, 'one/two/three', 'x');
    fixture.write(fixture.copy, 'one/other', 'x');
    fixture.write(fixture.copy, 'a', 'y');
    const { id } = await fixture.review();
    const report = await applyReview(fixture.store, id, { paths: ['one/two'] });
    expect(briefly(report.applied)).toEqual(['added one', 'added one/two', 'added one/two/three']);
    expect(readFileSync(fixture.at('a'), 'utf8')).toBe('x');
    expect(briefly(fixture.store.get(id).changes)).toEqual(['modified a', 'added one/other']);
    await expect(applyReview(fixture.store, id, { paths: ['nowhere'] })).rejects.toMatchObject({
      code: 'E_USAGE',
    });
    expect((await applyReview(fixture.store, id)).remaining).toBe(0);
    expect(treeOf(fixture.workspace)).toEqual(treeOf(fixture.copy));
  });

  it('changes nothing when the host changed one of the files, or has something where a new one goes', async () => {
    using fixture = new ReviewFixture({ a: 'x', b: 'x', 'dir/c': 'x' });
    await fixture.start();
    for (const name of ['a', 'b', 'new']) fixture.write(fixture.copy, name, 'sandbox');
    rmSync(fixture.inside('dir'), { recursive: true });
    const { id } = await fixture.review();
    fixture.write(fixture.workspace, 'b', 'host');
    fixture.write(fixture.workspace, 'new', 'host');
    fixture.write(fixture.workspace, 'dir/stranger', 'host');
    const before = treeOf(fixture.workspace);
    await expect(applyReview(fixture.store, id)).rejects.toMatchObject({
      code: 'E_REVIEW_CONFLICT',
      context: {
        conflicts: [
          { path: 'b', why: 'it changed on the host meanwhile' },
          { path: 'dir', why: 'the host has something in it: stranger' },
          { path: 'new', why: 'the host has it now' },
        ],
      },
    });
    expect(treeOf(fixture.workspace)).toEqual(before);
    await applyReview(fixture.store, id, { paths: ['a'] });
    expect(readFileSync(fixture.at('a'), 'utf8')).toBe('sandbox');
  });

  it('follows no symbolic link that the workspace has by then', async () => {
    using fixture = new ReviewFixture({ 'dir/file': 'x', file: 'x' });
    await fixture.start();
    fixture.write(fixture.copy, 'dir/file', 'sandbox');
    fixture.write(fixture.copy, 'dir/new', 'sandbox');
    fixture.write(fixture.copy, 'file', 'sandbox');
    const { id } = await fixture.review();
    const outside = path.join(fixture.base, 'outside');
    mkdirSync(outside);
    fixture.write(outside, 'file', 'x');
    renameSync(fixture.at('dir'), path.join(fixture.base, 'moved'));
    symlinkSync(outside, fixture.at('dir'));
    unlinkSync(fixture.at('file'));
    symlinkSync(path.join(outside, 'file'), fixture.at('file'));
    const before = treeOf(outside);
    await expect(applyReview(fixture.store, id)).rejects.toMatchObject({ code: 'E_REVIEW_CONFLICT' });
    for (const paths of [['dir/file'], ['dir/new'], ['file']])
      await expect(applyReview(fixture.store, id, { paths })).rejects.toMatchObject({
        code: 'E_REVIEW_CONFLICT',
      });
    expect(treeOf(outside)).toEqual(before);
  });

  it('leaves out what is protected unless asked, and what is blocked always', async () => {
    using fixture = new ReviewFixture({ '.git/config': 'x' });
    await fixture.start();
    fixture.write(fixture.copy, '.git/config', 'y');
    symlinkSync('/etc', fixture.inside('out'));
    const { id } = await fixture.review();
    expect(await applyReview(fixture.store, id)).toMatchObject({
      applied: [],
      skipped: [
        { path: '.git/config', why: 'builtin.git protects it: --protected' },
        { path: 'out', why: 'it leads out of the workspace' },
      ],
      remaining: 2,
    });
    const report = await applyReview(fixture.store, id, { protectedToo: true });
    expect(briefly(report.applied)).toEqual(['modified .git/config ?builtin.git']);
    expect(treeOf(fixture.workspace)).toEqual(['.git/ 755', '.git/config 644 y']);
    expect(fixture.store.list()).toEqual([]);
  });

  it('refuses a review whose content is not what was shown', async () => {
    using fixture = new ReviewFixture({ a: 'x' });
    await fixture.start();
    fixture.write(fixture.copy, 'a', 'shown');
    const { id } = await fixture.review();
    writeFileSync(fixture.store.content(id, 0), 'other');
    await expect(applyReview(fixture.store, id)).rejects.toMatchObject({ code: 'E_IO' });
    expect(treeOf(fixture.workspace)).toEqual(['a 644 x']);
  });

  it('says so when a note is damaged, and lets it be discarded', async () => {
    using fixture = new ReviewFixture({ a: 'x' });
    await fixture.start();
    fixture.write(fixture.copy, 'a', 'y');
    const { id } = await fixture.review();
    for (const text of ['{', '{}', '{"version":1}']) {
      writeFileSync(path.join(path.dirname(fixture.store.journal(id)), 'review.json'), text);
      await expect(applyReview(fixture.store, id)).rejects.toMatchObject({ code: 'E_IO' });
    }
    await discardReview(fixture.store, id);
    expect(treeOf(fixture.workspace)).toEqual(['a 644 x']);
    await expect(discardReview(fixture.store, id)).rejects.toMatchObject({ code: 'E_REVIEW_NOT_FOUND' });
  });

  it('gives what it makes to the owner of the tree', async (test) => {
    if (process.getuid?.() !== 0) test.skip('only root has another choice');
    using fixture = new ReviewFixture({ 'dir/a': 'x' });
    const { chownSync } = await import('node:fs');
    chownSync(fixture.at('dir'), 1000, 1000);
    chownSync(fixture.at('dir/a'), 1001, 1001);
    await fixture.start();
    fixture.write(fixture.copy, 'dir/a', 'y');
    fixture.write(fixture.copy, 'dir/new/b', 'y');
    await applyReview(fixture.store, (await fixture.review()).id);
    const owners = ['dir/a', 'dir/new', 'dir/new/b'].map((name) => statSync(fixture.at(name)).uid);
    expect(owners).toEqual([1001, 1000, 1000]);
  });
});

describe('an application that is interrupted', () => {
  it('is taken back whole, after any number of its moves', async () => {
    using counting = await allKinds();
    const total = (await begin(counting, 0)).total;
    expect(total).toBeGreaterThan(12);
    for (let moves = 0; moves <= total; moves++) {
      using fixture = await allKinds();
      const before = treeOf(fixture.workspace);
      const { undo } = await begin(fixture, moves);
      undo();
      expect(treeOf(fixture.workspace), `after ${moves} moves`).toEqual(before);
      undo();
      expect(treeOf(fixture.workspace), `taken back twice after ${moves} moves`).toEqual(before);
    }
  });

  it('does not take back what somebody else made meanwhile', async () => {
    using fixture = new ReviewFixture({ a: 'x' });
    await fixture.start();
    fixture.write(fixture.copy, 'new', 'sandbox');
    fixture.write(fixture.copy, 'a', 'sandbox');
    const { undo } = await begin(fixture, 2);
    for (const name of ['a', 'new']) {
      fixture.write(fixture.workspace, 'draft', 'saved by an editor');
      renameSync(fixture.at('draft'), fixture.at(name));
    }
    undo();
    expect(treeOf(fixture.workspace)).toEqual(['a 644 saved by an editor', 'new 644 saved by an editor']);
  });

  it('is known, and the next application or a discard begins with taking it back', async () => {
    for (const next of ['apply', 'discard'] as const) {
      using fixture = await allKinds();
      const before = treeOf(fixture.workspace);
      const { id } = await begin(fixture, 9, { keep: true });
      expect(isBegun(fixture.store, id)).toBe(true);
      if (next === 'apply') await applyReview(fixture.store, id);
      else await discardReview(fixture.store, id);
      const wanted = next === 'apply' ? treeOf(fixture.copy) : before;
      expect(treeOf(fixture.workspace)).toEqual(wanted);
      expect(fixture.store.list()).toEqual([]);
    }
  });
});

/** The first moves of an application, as a process that is killed after them leaves them. */
async function begin(
  fixture: ReviewFixture,
  moves: number,
  { keep = false }: { readonly keep?: boolean } = {},
): Promise<{ readonly id: string; readonly total: number; readonly undo: () => void }> {
  const review = await fixture.review();
  const turns = new Turns();
  const name = keep ? `.glovebox-${review.id}` : '../staging';
  const place = path.join(fixture.workspace, name);
  mkdirSync(place, { mode: 0o700 });
  const checked = await checkChanges(fixture.workspace, review.changes, turns);
  expect(checked.conflicts).toEqual([]);
  const root = openRoot(fixture.workspace);
  const staging = openDirAt(root, name);
  const inodes = await stageContents(fixture.store, review, {
    due: checked.due,
    bench: { root, staging },
    turns,
  });
  const steps = stepsOf(checked.due, inodes);
  if (keep) writeFileSync(fixture.store.journal(review.id), JSON.stringify(steps));
  for (const step of steps.slice(0, moves)) makeStep(step, { root, staging }, checked.looked);
  if (keep) for (const fd of [root, staging]) closeSync(fd);
  const undo = (): void => undoSteps(steps, { root, staging });
  return { id: review.id, total: steps.length, undo };
}
