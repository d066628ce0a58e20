import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CAPS } from '../base/caps.ts';
import { briefly, ReviewFixture, treeOf } from './fixture.ts';

describe('a copy of a workspace', () => {
  it('has files, directories, links, modes and times, and nothing of it is a change', async () => {
    using fixture = new ReviewFixture({ 'a.txt': 'one', 'dir/run': 'x' });
    chmodSync(fixture.at('dir/run'), 0o755);
    chmodSync(fixture.at('a.txt'), 0o400);
    symlinkSync('../a.txt', fixture.at('dir/link'));
    utimesSync(fixture.at('a.txt'), 1000, 2000);
    await fixture.start();
    expect(treeOf(fixture.copy)).toEqual(treeOf(fixture.workspace));
    expect(statSync(fixture.inside('a.txt')).mtimeMs).toBe(2_000_000);
    expect(await fixture.changes()).toEqual([]);
  });

  it('does not have what is denied, nor sockets and pipes; that they are not there is no change', async () => {
    using fixture = new ReviewFixture({ '.env': 'SECRET', 'secrets/key': 'SECRET', ok: 'x' });
    execFileSync('mkfifo', [fixture.at('pipe')]);
    const denied = new Map([
      [fixture.at('.env'), 'deny[0]'],
      [fixture.at('secrets'), 'deny[1]'],
    ]);
    await fixture.start({ denied });
    expect(treeOf(fixture.copy)).toEqual(['ok 644 x']);
    expect(await fixture.changes()).toEqual([]);
  });

  it('does not follow a symbolic link out of the workspace', async () => {
    using fixture = new ReviewFixture({ ok: 'x' });
    symlinkSync('/etc', fixture.at('etc'));
    await fixture.start();
    expect(treeOf(fixture.copy)).toEqual(['etc -> /etc', 'ok 644 x']);
  });
});

describe('what a sandbox changed', () => {
  it('is every kind of change, by path', async () => {
    using fixture = new ReviewFixture({ changed: 'old', gone: 'x', 'dir/a': 'x', mode: 'x', type: 'x' });
    symlinkSync('changed', fixture.at('link'));
    await fixture.start();
    writeFileSync(fixture.inside('changed'), 'new');
    unlinkSync(fixture.inside('gone'));
    rmSync(fixture.inside('dir'), { recursive: true });
    chmodSync(fixture.inside('mode'), 0o755);
    unlinkSync(fixture.inside('type'));
    mkdirSync(fixture.inside('type'));
    unlinkSync(fixture.inside('link'));
    symlinkSync('mode', fixture.inside('link'));
    writeFileSync(fixture.inside('binary'), Buffer.from([1, 0, 2]));
    const changes = await fixture.changes();
    expect(briefly(changes)).toEqual([
      'added binary',
      'modified changed',
      'deleted dir',
      'deleted dir/a',
      'deleted gone',
      'modified link',
      'mode mode',
      'deleted type',
      'added type',
    ]);
    expect(changes[0]).toMatchObject({ binary: true, after: { type: 'file', size: 3, mode: 0o644 } });
    expect(changes[5]).toMatchObject({ before: { target: 'changed' }, after: { target: 'mode' } });
  });

  it('is found when size and times are put back, and when the file is another of the same content it is none', async () => {
    using fixture = new ReviewFixture({ sly: 'aaaa', same: 'bbbb' });
    utimesSync(fixture.at('sly'), 1000, 1000);
    await fixture.start();
    writeFileSync(fixture.inside('sly'), 'AAAA');
    utimesSync(fixture.inside('sly'), 1000, 1000);
    writeFileSync(fixture.inside('other'), 'bbbb');
    renameSync(fixture.inside('other'), fixture.inside('same'));
    expect(briefly(await fixture.changes())).toEqual(['modified sly']);
  });

  it('is never applied where it is no file, leads out, has an odd name or set-id bits', async () => {
    using fixture = new ReviewFixture({ file: 'x' });
    await fixture.start();
    execFileSync('mkfifo', [fixture.inside('pipe')]);
    symlinkSync('/etc/passwd', fixture.inside('l-absolute'));
    symlinkSync('../../x', fixture.inside('l-up'));
    symlinkSync('l-dot/../x', fixture.inside('l-chain'));
    symlinkSync('.', fixture.inside('l-dot'));
    symlinkSync('l-loop', fixture.inside('l-loop'));
    symlinkSync('file', fixture.inside('l-fine'));
    writeFileSync(fixture.inside('suid'), 'x');
    chmodSync(fixture.inside('suid'), 0o4755);
    writeFileSync(fixture.inside('\u001b[31mred'), 'x');
    writeFileSync(Buffer.concat([Buffer.from(`${fixture.copy}/`), Buffer.from([0x7a, 0xff])]), 'x');
    expect(briefly(await fixture.changes())).toEqual([
      'added \u001b[31mred !its name holds control characters, or is not UTF-8',
      'added l-absolute !it leads out of the workspace',
      'added l-chain !it leads out of the workspace',
      'added l-dot',
      'added l-fine',
      'added l-loop !it leads out of the workspace',
      'added l-up !it leads out of the workspace',
      'added pipe !it is a socket, pipe or device',
      'added suid !it has set-id bits',
      'added z\udcff !its name holds control characters, or is not UTF-8',
    ]);
  });

  it('cannot come in by a denied name, also one that was not there', async () => {
    using fixture = new ReviewFixture({ '.env': 'SECRET', 'dir/key': 'SECRET' });
    const denied = new Map([
      [fixture.at('.env'), 'deny[0]'],
      [fixture.at('dir/key'), 'deny[1]'],
      [fixture.at('later'), 'deny[2]'],
    ]);
    await fixture.start({ denied, denyGlobs: [{ id: 'deny[3]', pattern: `${fixture.workspace}/**/*.pem` }] });
    fixture.write(fixture.copy, '.env', 'mine');
    fixture.write(fixture.copy, 'later/deep', 'mine');
    fixture.write(fixture.copy, 'x/y.pem', 'mine');
    rmSync(fixture.inside('dir'), { recursive: true });
    expect(briefly(await fixture.changes())).toEqual([
      'added .env !what the host has there was not copied: deny[0]',
      'deleted dir !the directory holds what was not copied',
      'added later !deny[2] denies it',
      'added later/deep !deny[2] denies it',
      'added x',
      'added x/y.pem !deny[3] denies it',
    ]);
  });

  it('is marked where a rule protects it, or git would run it, at any depth', async () => {
    using fixture = new ReviewFixture({ Makefile: 'x', '.git/config': 'x', 'sub/.git': 'gitdir: ../m' });
    const protectedPaths = new Map([[fixture.at('Makefile'), 'protect[0]']]);
    await fixture.start({
      protectedPaths,
      protectGlobs: [{ id: 'protect[1]', pattern: `${fixture.workspace}/*.lock` }],
    });
    appendFileSync(fixture.inside('Makefile'), 'y');
    appendFileSync(fixture.inside('.git/config'), 'y');
    appendFileSync(fixture.inside('sub/.git'), 'y');
    fixture.write(fixture.copy, 'a/b/.git/hooks/post-checkout', 'x');
    fixture.write(fixture.copy, 'a/b/.git/HEAD', 'x');
    fixture.write(fixture.copy, '.git/modules/m/config', 'x');
    fixture.write(fixture.copy, 'x.lock', 'x');
    fixture.write(fixture.copy, 'deep/.vscode/tasks.json', '{}');
    const changes = await fixture.changes();
    expect(briefly(changes).filter((line) => line.includes('?'))).toEqual([
      'modified .git/config ?builtin.git',
      'added .git/modules/m/config ?builtin.git',
      'modified Makefile ?protect[0]',
      'added a/b/.git/hooks ?builtin.git',
      'added a/b/.git/hooks/post-checkout ?builtin.git',
      'modified sub/.git ?builtin.git',
      'added x.lock ?protect[1]',
    ]);
    expect(changes.find(({ path }) => path === 'deep/.vscode/tasks.json')?.runs).toContain('editor');
  });

  it('is bounded: sparse files, depth and numbers', async () => {
    using fixture = new ReviewFixture({ file: 'x' });
    await fixture.start();
    writeFileSync(fixture.inside('sparse'), '');
    truncateSync(fixture.inside('sparse'), CAPS.reviewBytes * 16);
    execFileSync('bash', ['-c', 'for i in $(seq 150); do mkdir d && cd -P d; done'], { cwd: fixture.copy });
    const changes = await fixture.changes();
    expect(changes.find(({ path }) => path === 'sparse')?.blocked).toBe('it is larger than a review may be');
    expect(changes.filter(({ blocked }) => blocked === 'it lies too deep')).toHaveLength(1);
    expect(changes.length).toBeLessThan(CAPS.reviewDepth + 5);
  });

  it('does not take what cannot be looked into for deleted', async (test) => {
    if (process.getuid?.() === 0) test.skip('root reads everything');
    using fixture = new ReviewFixture({ 'dir/a': 'x', 'dir/b': 'x' });
    await fixture.start();
    chmodSync(fixture.inside('dir'), 0);
    const changes = await fixture.changes();
    chmodSync(fixture.inside('dir'), 0o700);
    expect(briefly(changes).filter((line) => line.startsWith('deleted'))).toEqual([]);
    expect(changes.some(({ blocked }) => blocked?.startsWith('it cannot be read'))).toBe(true);
  });

  it('of hard links inside is each its own file', async () => {
    using fixture = new ReviewFixture({ a: 'x' });
    await fixture.start();
    linkSync(fixture.inside('a'), fixture.inside('b'));
    writeFileSync(fixture.inside('b'), 'y');
    expect(briefly(await fixture.changes())).toEqual(['modified a', 'added b']);
  });
});
