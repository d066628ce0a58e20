import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { isRoot, PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { codeOf, create, eventually, expectAllGone, forEachOwnTier, Script } from '../support/sdk.ts';

const causeOf = async (sandbox: Sandbox): Promise<string> => (await sandbox.kill()).cause;

describe('the end', () => {
  forEachOwnTier('is what was set last', async (tier) => {
    using box = new TestBox();
    const sandbox = await create(box, { tier, timeoutMs: 60_000 });
    const first = (await sandbox.getInfo()).endAt ?? 0;
    expect(first - Date.now()).toBeGreaterThan(50_000);
    await sandbox.setTimeout(120_000);
    expect(((await sandbox.getInfo()).endAt ?? 0) - first).toBeGreaterThan(50_000);
    await sandbox.setTimeout(0);
    expect((await sandbox.getInfo()).endAt).toBeUndefined();
    await sandbox.setTimeout(50);
    await sandbox.closed;
    expect(await causeOf(sandbox)).toBe('ttl');
    expect(await codeOf(sandbox.setTimeout(1000))).toBe('E_SANDBOX_CLOSED');
    await expectAllGone(box);
  });

  it('is set by another process too, and refused there the same way', async () => {
    using box = new TestBox();
    await using sandbox = await create(box, { limits: { ttl: '10m' } });
    using script = new Script(
      box,
      'process',
      `const box = await Sandbox.connect(${JSON.stringify(sandbox.id)});
       await box.setTimeout(300_000);
       say((await box.getInfo()).endAt);
       say(await box.setTimeout(3_600_000).catch((error) => error.code));
       box.disconnect();`,
    );
    expect(await script.next()).toBe((await sandbox.getInfo()).endAt);
    expect(await script.next()).toBe('E_LIMIT_EXCEEDED');
  });

  it('cannot be put beyond what the policy says', async () => {
    using box = new TestBox();
    await using sandbox = await create(box, { limits: { ttl: '1m' }, timeoutMs: 3_600_000 });
    const { endAt = Infinity, startedAt } = await sandbox.getInfo();
    expect(endAt - startedAt).toBeLessThan(62_000);
    for (const beyond of [0, 61_000, 3_600_000])
      expect(await codeOf(sandbox.setTimeout(beyond)), `${beyond}`).toBe('E_LIMIT_EXCEEDED');
    for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(await codeOf(sandbox.setTimeout(wrong)), `${wrong}`).toBe('E_USAGE');
    await sandbox.setTimeout(30_000);
    expect(((await sandbox.getInfo()).endAt ?? Infinity) - Date.now()).toBeLessThan(31_000);
  });

  it('and a renewal at the same moment agree on who was first', async () => {
    using box = new TestBox();
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, async (_, i) => {
        const sandbox = await create(box, { timeoutMs: 60_000 });
        await sandbox.setTimeout(200);
        await delay(196 + i);
        const renewed = await codeOf(sandbox.setTimeout(60_000));
        if (renewed === 'undefined') {
          expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
          return causeOf(sandbox);
        }
        expect(renewed).toBe('E_SANDBOX_CLOSED');
        return causeOf(sandbox);
      }),
    );
    for (const cause of outcomes) expect(['killed', 'ttl']).toContain(cause);
    await expectAllGone(box);
  });

  forEachOwnTier('of one that nobody uses comes by itself, and not while something runs', async (tier) => {
    using box = new TestBox();
    const sandbox = await create(box, { tier, idleTimeoutMs: 500 });
    expect((await sandbox.commands.run('sleep 1.5; echo done')).stdout).toBe('done\n');
    expect(await sandbox.isRunning()).toBe(true);
    await sandbox.closed;
    expect(await causeOf(sandbox)).toBe('idle');
    expect(box.records().findLast(({ kind }) => kind === 'run.end')?.data).toMatchObject({ cause: 'idle' });
    await expectAllGone(box);
  });

  it('of one that only another process uses does not come meanwhile', async () => {
    using box = new TestBox();
    const sandbox = await create(box, { idleTimeoutMs: 1500 });
    using script = new Script(
      box,
      'process',
      `const box = await Sandbox.connect(${JSON.stringify(sandbox.id)});
       say('in');
       for (let i = 0; i < 10; i++) { await box.commands.run('true'); await new Promise((done) => setTimeout(done, 250)); }
       say(await box.isRunning());
       await box.commands.run('sleep 2.5');
       say(await box.isRunning());
       box.disconnect();`,
    );
    const attaching = script.next();
    do await sandbox.commands.run('true');
    while ((await Promise.race([attaching, delay(200)])) === undefined);
    expect(await script.next()).toBe(true);
    expect(await script.next()).toBe(true);
    await sandbox.closed;
    expect(await causeOf(sandbox)).toBe('idle');
  });
});

describe('a pause', () => {
  const COUNT = `
import time
n = 0
while True:
    n += 1
    print(n, flush=True)
    time.sleep(0.01)`;

  /** The value once it has not changed for a while: what was on its way has arrived. Fails when it never stands still. */
  async function standstill(read: () => number): Promise<number> {
    for (const end = performance.now() + 20_000; performance.now() < end;) {
      const before = read();
      await delay(400);
      if (read() === before) return before;
    }
    throw new Error('it goes on and on');
  }

  forEachOwnTier('stops everything inside, and a resume lets it go on', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const counter = await sandbox.commands.run([PYTHON, '-c', COUNT], { background: true });
    await eventually(() => counter.stdout.length).toBeGreaterThan(10);
    await sandbox.pause();
    expect((await sandbox.getInfo()).state).toBe('paused');
    expect(await sandbox.isRunning()).toBe(false);
    const still = await standstill(() => counter.stdout.length);
    await sandbox.resume();
    expect(await sandbox.isRunning()).toBe(true);
    await eventually(() => counter.stdout.length).toBeGreaterThan(still);
    expect((await sandbox.getInfo()).state).toBe('running');
    const numbers = counter.stdout.trim().split('\n').slice(0, -1).map(Number);
    expect(numbers).toEqual(numbers.map((_, i) => i + 1));
  });

  forEachOwnTier('by another process is the same, and a second one changes nothing', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const counter = await sandbox.commands.run([PYTHON, '-c', COUNT], { background: true });
    await eventually(() => counter.stdout.length).toBeGreaterThan(10);
    using script = new Script(
      box,
      tier,
      `const box = await Sandbox.connect(${JSON.stringify(sandbox.id)});
       await box.pause(); await box.pause();
       say((await box.getInfo()).state);
       await new Promise((done) => process.stdin.once('data', done));
       await box.resume();
       say((await box.getInfo()).state);
       box.disconnect();`,
    );
    expect(await script.next()).toBe('paused');
    const still = await standstill(() => counter.stdout.length);
    script.child.stdin?.end('go\n');
    expect(await script.next()).toBe('running');
    await eventually(() => counter.stdout.length).toBeGreaterThan(still);
  });

  forEachOwnTier('does not keep a sandbox from its end', async (tier) => {
    using box = new TestBox();
    const killed = await create(box, { tier });
    await killed.commands.run('sleep 300', { background: true });
    await killed.pause();
    const report = await killed.kill();
    expect(report).toMatchObject({ cause: 'killed', receipt: { complete: true } });
    const timed = await create(box, { tier });
    await timed.pause();
    await timed.setTimeout(100);
    await timed.closed;
    expect(await causeOf(timed)).toBe('ttl');
    await expectAllGone(box);
  });
});

describe('metrics', () => {
  forEachOwnTier('show what a sandbox uses', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier, limits: { memory: '512MiB' } });
    const idle = await sandbox.getMetrics();
    expect(idle.memTotal).toBe(512 * 1024 * 1024);
    expect(idle.diskTotal).toBeGreaterThan(idle.diskUsed);
    expect(idle.timestamp).toBeLessThanOrEqual(Date.now());
    const hog = await sandbox.commands.run(
      [PYTHON, '-c', 'x = bytearray(64 << 20); print("up", flush=True)\nwhile True: pass'],
      { background: true },
    );
    await eventually(() => hog.stdout).toBe('up\n');
    await sandbox.getMetrics();
    await delay(300);
    const busy = await sandbox.getMetrics();
    if (!isRoot) return;
    expect(busy.cpuUsedPct).toBeGreaterThan(5);
    expect(busy.memUsed ?? 0).toBeGreaterThan(64 << 20);
    expect(busy.pids ?? 0).toBeGreaterThan(1);
  });
});

describe('a receipt', () => {
  forEachOwnTier('names what there was, and that it is gone', async (tier) => {
    using box = new TestBox();
    const sandbox = await create(box, { tier });
    await sandbox.commands.run('setsid sleep 300 > /dev/null 2>&1 & true');
    const { receipt } = await sandbox.kill();
    expect(receipt.complete).toBe(true);
    const kinds = new Set(receipt.items.map(({ kind }) => kind));
    for (const kind of ['process', 'socket', 'entry', ...(isRoot ? ['cgroup'] : [])])
      expect(kinds).toContain(kind);
    expect(receipt.items.filter(({ gone }) => !gone)).toEqual([]);
    const end = box.records().find(({ kind }) => kind === 'run.end');
    expect(end?.data).toMatchObject({ left: [], gone: receipt.items.length });
    await expectAllGone(box);
  });

  it('of a temporary workspace names it too', async () => {
    using box = new TestBox();
    const sandbox = await Sandbox.create({ temporary: true, hostEnv: box.env() });
    const { workspace } = await sandbox.getInfo();
    await sandbox.files.write('deep/file', 'x');
    // It may shut its directories: they go all the same.
    await sandbox.commands.run('mkdir -p a/b && touch a/b/c && chmod 0 a/b a');
    const { receipt } = await sandbox.kill();
    expect(receipt.items).toContainEqual({ kind: 'directory', name: workspace, gone: true });
    await expectAllGone(box);
  });
});

describe('an abort', () => {
  forEachOwnTier('at any moment of a start leaves nothing', async (tier) => {
    using box = new TestBox();
    const moments = tier === 'process' ? [0, 2, 5, 10, 15, 20, 30, 45, 60, 90] : [0, 20, 60, 150, 300, 500];
    for (const moment of moments) {
      const controller = new AbortController();
      const starting = create(box, { tier, signal: controller.signal });
      const timer = setTimeout(() => controller.abort(new Error('enough')), moment);
      const outcome = await starting.then(
        (sandbox) => sandbox.closed.then(() => causeOf(sandbox)),
        (error: unknown) => codeOf(Promise.reject(error)),
      );
      clearTimeout(timer);
      expect(['E_ABORTED', 'killed']).toContain(outcome);
    }
    await expectAllGone(box);
  });
});
