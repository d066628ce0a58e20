import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Reviews, Sandbox, type Review } from '../../src/index.ts';
import { AttackBox, engineEnv, forEachTier, policyTier, TIERS, tierNeeds } from '../support/attack.ts';
import { GLOVEBOX } from '../support/box.ts';
import { snapshot } from '../support/tree.ts';

const REVIEW = { flags: ['--review'] };

/** The only review of a box. */
function only(box: AttackBox): Review {
  const all = new Reviews({ hostEnv: box.env() }).list();
  expect(all).toHaveLength(1);
  return all[0] as Review;
}

/** Copies of workspaces that are still there. */
function copies(box: AttackBox): readonly string[] {
  const dir = path.join(box.home, '.cache/glovebox/workspaces');
  return existsSync(dir) ? readdirSync(dir) : [];
}

const pathsOf = (review: Review): readonly string[] =>
  review.changes.map(({ kind, path: at }) => `${kind} ${at}`);

describe('mode: review', () => {
  forEachTier('leaves the workspace as it is until a person applies what changed', async (tier) => {
    using box = new AttackBox(tier);
    box.write('a.txt', 'one\ntwo\n');
    box.write('gone/b', 'x');
    box.write('.env', box.canary);
    const before = snapshot(box.workspace);
    const script =
      'cat .env; echo TWO >> a.txt; rm -r gone; mkdir new; echo hi > new/c; chmod 755 new/c; ln -s new/c link; pwd';
    const run = await box.sh(script, { flags: ['--review', '--deny', '.env'] });
    expect(run.stdout).toBe(`${box.workspace}\n`);
    expect(run.code).toBe(0);
    expect(run.stderr).toContain('6 changes wait for you, the workspace is as it was');
    expect(snapshot(box.workspace)).toEqual(before);
    expect(box.read('a.txt')).toBe('one\ntwo\n');
    expect(copies(box)).toEqual([]);

    const review = only(box);
    expect(pathsOf(review)).toEqual([
      'modified a.txt',
      'deleted gone',
      'deleted gone/b',
      'added link',
      'added new',
      'added new/c',
    ]);
    const shown = await box.cli(['review', 'show', review.id, '--diff']);
    expect(shown.stdout).toContain('--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,3 @@\n one\n two\n+TWO\n');
    const applied = await box.cli(['review', 'apply']);
    expect(applied.stderr).toContain('6 changes applied');
    expect(applied.code).toBe(0);
    expect(box.read('a.txt')).toBe('one\ntwo\nTWO\n');
    expect(box.read('link')).toBe('hi\n');
    expect(statSync(path.join(box.workspace, 'new/c')).mode & 0o777).toBe(0o755);
    expect(box.read('.env')).toBe(box.canary);
    expect(box.listing()).toEqual(['.env', 'a.txt', 'link', 'new']);
    expect((await box.cli(['review', 'list'])).stdout).toBe('');
    const kinds = box.records().map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind.startsWith('review.'))).toEqual(['review.made', 'review.applied']);
  });

  forEachTier(
    'never applies what leads out, what is denied, and what is protected only when asked',
    async (tier) => {
      using box = new AttackBox(tier);
      box.write('Makefile', 'all:\n');
      box.write('.git/config', '[core]\n');
      box.write('.git/HEAD', 'ref: refs/heads/main\n');
      const script =
        'echo x >> Makefile; echo x >> .git/config; mkdir -p .git/hooks; echo x > .git/hooks/pre-commit; echo x > .env;' +
        'ln -s /etc/passwd out; ln -s ../../.. up; mkfifo pipe; echo x > "$(printf "\\033[2Jx")"; echo fine > fine';
      box.policy('version: 1\nfilesystem: { mode: review, deny: [.env], protect: [Makefile] }\n');
      await box.sh(script);
      const shown = await box.cli(['review', 'show']);
      expect(shown.stdout).not.toContain('\u001b');
      expect(shown.stdout).toContain(
        'A .git/hooks/pre-commit  (PROTECTED by builtin.git; RUNS ON YOUR MACHINE',
      );
      await box.cli(['review', 'apply']);
      expect(box.listing()).toEqual(['.git', 'Makefile', 'fine']);
      expect(box.read('Makefile')).toBe('all:\n');
      expect(box.read('.git/config')).toBe('[core]\n');
      const protectedToo = await box.cli(['review', 'apply', '--protected']);
      expect(protectedToo.code).toBe(0);
      expect(box.listing()).toEqual(['.git', 'Makefile', 'fine']);
      expect(box.read('Makefile')).toBe('all:\nx\n');
      expect(box.read('.git/hooks/pre-commit')).toBe('x\n');
      const { data } = box.records().findLast(({ kind }) => kind === 'review.applied') ?? { data: {} };
      expect(data).toMatchObject({ outcome: 'applied', protected: 4 });
    },
  );

  forEachTier('refuses where the host changed meanwhile, and applies the rest by name', async (tier) => {
    using box = new AttackBox(tier);
    box.write('mine', 'x');
    box.write('other', 'x');
    await box.sh('echo sandbox > mine; echo sandbox > other; echo sandbox > new', REVIEW);
    box.write('mine', 'edited by a person');
    const refused = await box.cli(['review', 'apply']);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain('mine (it changed on the host meanwhile)');
    expect(refused.stderr).toContain('E_REVIEW_CONFLICT');
    expect(box.listing()).toEqual(['mine', 'other']);
    expect(box.read('other')).toBe('x');
    expect((await box.cli(['review', 'apply', only(box).id, 'other', 'new'])).code).toBe(0);
    expect(box.read('new')).toBe('sandbox\n');
    expect(box.read('mine')).toBe('edited by a person');
    expect((await box.cli(['review', 'discard', only(box).id])).code).toBe(0);
    expect(box.records().map(({ kind }) => kind)).toContain('review.discarded');
  });

  // Who compares and applies is the host, whichever tier wrote the files: one is enough.
  it.for(TIERS.slice(0, 1))(
    'takes a large file and ten thousand small ones [%s]',
    { timeout: 400_000 },
    async (tier, test) => {
      const needs = tierNeeds(tier);
      if (needs !== undefined) test.skip(needs);
      using box = new AttackBox(tier);
      for (let d = 0; d < 50; d++) for (let f = 0; f < 100; f++) box.write(`old/d${d}/f${f}`, `${d} ${f}`);
      const script = `
import os
for d in range(50):
    for f in range(100): os.makedirs(f'new/d{d}', exist_ok=True); open(f'new/d{d}/f{f}', 'w').write(f'{d} {f}')
    open(f'old/d{d}/f7', 'a').write('!')
open('large', 'wb').write(bytes(range(256)) * 409600)
`;
      const run = await box.run(['/usr/bin/python3', '-c', script], { ...REVIEW, timeoutMs: 200_000 });
      expect(run.code).toBe(0);
      const review = only(box);
      expect(review.changes).toHaveLength(50 + 5000 + 51 + 1);
      expect(review.truncated).toBe(false);
      expect((await box.cli(['review', 'apply'], { timeoutMs: 150_000 })).code).toBe(0);
      expect(statSync(path.join(box.workspace, 'large')).size).toBe(104_857_600);
      expect(box.read('new/d49/f99')).toBe('49 99');
      expect(box.read('old/d3/f7')).toBe('3 7!');
    },
  );

  forEachTier('shows no network, no other tree and no host path more than direct mode', async (tier) => {
    using box = new AttackBox(tier);
    box.plant('outside.txt');
    const run = await box.sh(
      `cat ${box.base}/outside.txt ${box.home}/.cache/glovebox/workspaces/*/* ; mount`,
      REVIEW,
    );
    expect(run.stdout).not.toContain(box.canary);
    expect(run.stdout).not.toMatch(/No such device/);
    expect(run.stderr).toContain('No such file');
  });

  for (const tier of TIERS) {
    const needs = tierNeeds(tier);
    it.skipIf(needs !== undefined)(
      `[${tier}] tells the SDK what is different while the sandbox lives`,
      async () => {
        using box = new AttackBox(tier);
        box.write('a', 'x');
        const hostEnv = box.env(engineEnv(tier));
        const sandbox = await Sandbox.create({
          tier: policyTier(tier),
          workspace: box.workspace,
          review: true,
          hostEnv,
        });
        expect(await sandbox.changes()).toEqual({ changes: [], truncated: false });
        await sandbox.files.write('b', 'from the SDK');
        await sandbox.commands.run('echo y >> a');
        expect((await sandbox.changes()).changes).toMatchObject([
          { kind: 'modified', path: 'a' },
          { kind: 'added', path: 'b' },
        ]);
        const { review, receipt } = await sandbox.kill();
        expect(receipt.items.filter(({ gone }) => !gone)).toEqual([]);
        expect(box.read('a')).toBe('x');
        const reviews = new Reviews({ hostEnv });
        const report = await reviews.apply(review?.id ?? '', { paths: ['b'] });
        expect(report).toMatchObject({ applied: [{ path: 'b' }], remaining: 1 });
        expect(box.read('b')).toBe('from the SDK');
        expect(box.read('a')).toBe('x');
      },
    );
  }

  it('looks at a tree that changes all the time, and leaves it', { timeout: 120_000 }, async () => {
    using box = new AttackBox('process');
    for (let i = 0; i < 50; i++) box.write(`d${i}/f`, 'x');
    box.plant('secret/f');
    await using sandbox = await Sandbox.create({
      workspace: box.workspace,
      review: true,
      hostEnv: box.env(),
    });
    const swap = `
import os, itertools
for i in itertools.count():
    d = f'd{i % 50}'
    for work in (lambda: os.rename(d, 'away'), lambda: os.symlink('${box.base}/secret', d), lambda: os.unlink(d), lambda: os.rename('away', d),
                 lambda: open(d + '/f', 'w').write('y' * (100 + i % 7000)), lambda: os.mkfifo('pipe'), lambda: os.unlink('pipe')):
        try: work()
        except OSError: pass
`;
    const handle = await sandbox.commands.run(['/usr/bin/python3', '-c', swap], { background: true });
    for (let look = 0; look < 20; look++) {
      const { changes } = await sandbox.changes();
      // What is reached by the link would have the size of the canary.
      const sizes = changes.flatMap(({ after }) => (after?.type === 'file' ? [after.size] : []));
      expect(sizes).not.toContain(box.canary.length + 1);
      await delay(5);
    }
    await handle.kill();
    const { review } = await sandbox.kill();
    const reviews = new Reviews({ hostEnv: box.env() });
    for (const change of review?.changes ?? []) {
      const text = reviews.diff(reviews.get(review?.id ?? ''), change);
      expect(text).not.toContain(box.canary);
    }
    expect(readFileSync(path.join(box.workspace, 'd7/f'), 'utf8')).toBe('x');
  });

  it('takes back an application that was killed, at whatever moment', { timeout: 120_000 }, async () => {
    using box = new AttackBox('process');
    for (let i = 0; i < 1000; i++) box.write(`d${i % 30}/f${i}`, `old ${i}`);
    await box.sh('for f in d*/*; do echo new > $f; done; mkdir n; touch n/{1..200}', REVIEW);
    const { id } = only(box);
    const journal = path.join(box.home, '.local/state/glovebox/reviews', id, 'applying.json');
    const child = spawn(process.execPath, [GLOVEBOX, 'review', 'apply', id], {
      env: box.env(),
      stdio: 'ignore',
    });
    const ended = new Promise((resolve) => child.on('close', resolve));
    while (!existsSync(journal) && child.exitCode === null) await delay(1);
    child.kill('SIGKILL');
    await ended;
    expect(existsSync(journal)).toBe(true);
    expect((await box.cli(['review', 'list'])).stdout).toContain('applying it was interrupted');
    expect((await box.cli(['review', 'discard', id])).code).toBe(0);
    const contents = readdirSync(box.workspace, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(path.join(entry.parentPath, entry.name), 'utf8'));
    expect(contents).toHaveLength(1000);
    expect(contents.every((text) => text.startsWith('old '))).toBe(true);
    expect(box.listing().filter((name) => !/^d\d+$/.test(name))).toEqual([]);
  });

  it('leaves nothing when its launcher is killed, after the next run', async () => {
    using box = new AttackBox('process');
    box.write('a', 'x');
    const running = box.start(['bash', '-c', 'echo y > a; echo ready; sleep 60'], REVIEW);
    await running.said('ready');
    running.child.kill('SIGKILL');
    await running.ended;
    expect(copies(box)).toHaveLength(1);
    await box.sh('true');
    expect(copies(box)).toEqual([]);
    expect(box.read('a')).toBe('x');
  });

  it('refuses other trees that are the workspace too, and a home whose hidden part the copy is in', async () => {
    using box = new AttackBox('process');
    const outer = path.join(box.home, 'code');
    const workspace = path.join(outer, 'project');
    mkdirSync(workspace, { recursive: true });
    const options = { flags: ['--review', '--write', outer], cwd: workspace };
    expect((await box.sh('true', options)).stderr).toMatch(
      /cannot be writable in mode: review[^]*E_POLICY_INVALID/,
    );
    const inner = path.join(box.workspace, 'build');
    mkdirSync(inner);
    await box.sh('echo x > build/f', { flags: ['--review', '--write', inner] });
    expect(readdirSync(inner)).toEqual([]);
    const read = await box.sh('true', { flags: ['--review', '--read', box.home] });
    expect(read.stderr).toContain('mode: review cannot be had together with');
    expect(read.stderr).toContain('E_UNSUPPORTED');
  });

  it('is a ceiling of the organisation and user policy alike: the command line cannot lift it', async () => {
    using box = new AttackBox('process');
    box.policy('version: 1\nfilesystem: { mode: review }\n');
    box.write('a', 'x');
    await box.sh('echo y > a');
    expect(box.read('a')).toBe('x');
    expect(pathsOf(only(box))).toEqual(['modified a']);
  });

  it('says that nothing changed, and makes no review of it', async () => {
    using box = new AttackBox('process');
    box.write('a', 'x');
    const { stderr } = await box.sh('cat a > /dev/null', REVIEW);
    expect(stderr).toContain('changed nothing in its copy');
    expect((await box.cli(['review', 'list', '--json'])).stdout).toBe('{"reviews":[]}\n');
  });

  it('applies into no directory that became a link, and its own words are checked', async () => {
    using box = new AttackBox('process');
    box.write('dir/a', 'x');
    await box.sh('echo y > dir/a; echo y > dir/b', REVIEW);
    const away = path.join(box.base, 'away');
    renameSync(path.join(box.workspace, 'dir'), away);
    symlinkSync(away, path.join(box.workspace, 'dir'));
    const refused = await box.cli(['review', 'apply']);
    expect(refused.stderr).toContain('E_REVIEW_CONFLICT');
    expect(readdirSync(away)).toEqual(['a']);
    expect(readFileSync(path.join(away, 'a'), 'utf8')).toBe('x');
    for (const words of [['apply', 'rev_../../x'], ['show', 'rev_zzzz'], ['apply', '../outside'], ['aply']]) {
      const { code, stderr } = await box.cli(['review', ...words]);
      expect(code).toBe(125);
      expect(stderr).toMatch(/E_USAGE|E_REVIEW_NOT_FOUND/);
    }
  });

  it('keeps everything as it was when a step of the application fails', async (test) => {
    if (process.getuid?.() === 0) test.skip('root writes anywhere');
    using box = new AttackBox('process');
    box.write('a', 'x');
    box.write('shut/b', 'x');
    await box.sh('echo y > a; echo y > shut/b; echo y > new', REVIEW);
    chmodSync(path.join(box.workspace, 'shut'), 0o555);
    const failed = await box.cli(['review', 'apply']);
    chmodSync(path.join(box.workspace, 'shut'), 0o755);
    expect(failed.stderr).toContain('everything is as it was before');
    expect(box.listing()).toEqual(['a', 'shut']);
    expect(box.read('a')).toBe('x');
    expect((await box.cli(['review', 'apply'])).code).toBe(0);
    expect(box.read('shut/b')).toBe('y\n');
  });
});
