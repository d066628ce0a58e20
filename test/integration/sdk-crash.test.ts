import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { until } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import {
  codeOf,
  create,
  expectAllGone,
  forEachOwnTier,
  registeredIds,
  Script,
  type OwnTier,
} from '../support/sdk.ts';
import { cgroupsOf, processesOf } from '../support/tree.ts';

const AGENT = path.resolve(import.meta.dirname, '../../agent/build/glovebox-agent');

/** Makes a sandbox with everything that could be left behind, uses it, and waits for its end. */
const OWNER = (temporary: boolean): string => `
  say('go');
  const box = await Sandbox.create({ ...options, ${temporary ? 'temporary: true, workspace: undefined,' : ''} publish: ['0:8080'], name: 'owned-' + process.pid });
  say(box.id);
  await box.commands.run('setsid sleep 300 > /dev/null 2>&1 & sleep 300', { background: true });
  await box.pty.create({ cols: 80, rows: 24 });
  say('busy');
  await box.closed;`;

/** Milliseconds from `go` to a sandbox that is in use: a start is cut at moments within it, however busy this machine is. */
async function lengthOfAStart(box: TestBox, tier: OwnTier): Promise<number> {
  using script = new Script(box, tier, OWNER(true));
  await script.next();
  const start = performance.now();
  await script.next();
  await script.next();
  return performance.now() - start;
}

describe('an owner that is killed', () => {
  forEachOwnTier('at any moment leaves nothing after the next start', async (tier) => {
    using box = new TestBox();
    const whole = await lengthOfAStart(box, tier);
    const moments = Array.from({ length: 16 }, (_, i) => (i * whole * 1.3) / 15);
    const ids = new Set<string>();
    const round = async (moment: number, temporary: boolean): Promise<void> => {
      using script = new Script(box, tier, OWNER(temporary));
      await script.next();
      await delay(moment);
      for (const id of registeredIds(box)) ids.add(id);
      script.child.kill('SIGKILL');
      await script.ended;
    };
    for (let i = 0; i < moments.length; i += 2)
      await Promise.all([round(moments[i] ?? 0, true), round(moments[i + 1] ?? 0, false)]);
    for (const id of registeredIds(box)) ids.add(id);
    expect(ids.size).toBeGreaterThan(0);
    // Nothing that runs waits for the sweep.
    await until(() => processesOf(box).length === 0, `no process: ${processesOf(box).join('\n')}`);
    const next = await create(box, { tier });
    expect((await next.commands.run('echo works')).stdout).toBe('works\n');
    await next.kill();
    await expectAllGone(box, [...ids]);
  });

  it('has its sandboxes not listed, not connected to, and their names free', async () => {
    using box = new TestBox();
    using script = new Script(
      box,
      'process',
      `const box = await Sandbox.create({ ...options, name: 'mine' }); say(box.id); await box.closed;`,
    );
    const id = String(await script.next());
    const other = await Sandbox.connect(id, { hostEnv: box.env() });
    script.child.kill('SIGKILL');
    await other.closed;
    await script.ended;
    expect(await codeOf(other.commands.run('true'))).toMatch(/^E_SANDBOX_(LOST|CLOSED)$/);
    expect(await codeOf(Sandbox.connect(id, { hostEnv: box.env() }))).toBe('E_SANDBOX_NOT_FOUND');
    for await (const info of Sandbox.list({ hostEnv: box.env() })) expect(info).toBeUndefined();
    const again = await create(box, { name: 'mine' });
    await again.kill();
    await expectAllGone(box, [id]);
  });
});

describe('an owner that is stopped beyond the deadline', () => {
  forEachOwnTier('has its sandbox ended by the next start', async (tier) => {
    using box = new TestBox();
    using script = new Script(
      box,
      tier,
      `const box = await Sandbox.create({ ...options, timeoutMs: 800 });
       box.commands.run('sleep 300').catch(() => undefined);
       say(box.id);
       await box.closed;
       say((await box.kill()).cause);`,
    );
    const id = String(await script.next());
    script.child.kill('SIGSTOP');
    const inside = (): number => processesOf(box).filter((line) => /bwrap|runsc|sleep/.test(line)).length;
    await until(() => inside() > 0, 'the command to run');
    await delay(6000);
    const next = await create(box, { tier });
    await next.kill();
    await until(() => inside() === 0, 'what runs to end');
    expect(cgroupsOf([id]).length).toBeLessThanOrEqual(8);
    script.child.kill('SIGCONT');
    expect(['ttl', 'lost']).toContain(await script.next());
    expect((await script.ended).code).toBe(0);
    await expectAllGone(box, [id]);
  });

  it('is skipped by list, which does not hang', async () => {
    using box = new TestBox();
    using script = new Script(
      box,
      'process',
      `const box = await Sandbox.create({ ...options, name: 'stopped' }); say(box.id); await new Promise((done) => process.stdin.once('data', done)); await box.kill();`,
    );
    await script.next();
    await using mine = await create(box);
    script.child.kill('SIGSTOP');
    expect(await codeOf(create(box, { name: 'stopped' }))).toBe('E_NAME_TAKEN');
    const found: string[] = [];
    for await (const { sandboxId } of Sandbox.list({ hostEnv: box.env() })) found.push(sandboxId);
    expect(found).toEqual([mine.id]);
    script.child.kill('SIGCONT');
    script.child.stdin?.end('go\n');
    expect((await script.ended).code).toBe(0);
  });
});

describe('an agent that speaks garbage', () => {
  /** A program in the agent's place that says something wrong on the channel, and stays. */
  function liar(box: TestBox, says: string): string {
    const script = `#!/bin/bash\n[ "$1" = airlock ] || exec ${AGENT} "$@"\n{ ${says}; } >&4\nexec sleep 300\n`;
    const file = box.write('../liar', script);
    chmodSync(file, 0o755);
    return file;
  }

  it.each([
    ['noise', 'head -c 65536 /dev/urandom'],
    ['a frame of 4 GiB', "printf '\\377\\377\\377\\377\\001\\000\\000\\000\\000\\000\\000\\000'"],
    ['nothing, and goes', 'exit 0'],
  ])('(%s) is refused with a typed error, and everything is gone', async (_what, says) => {
    using box = new TestBox();
    const hostEnv = { ...box.env(), GLOVEBOX_AGENT: liar(box, says) };
    expect(await codeOf(create(box, { hostEnv }))).toMatch(/^E_(PROTOCOL|SANDBOX_START|SANDBOX_LOST)$/);
    await until(() => processesOf(box).length === 0, 'the liar to end');
    const next = await create(box);
    await next.kill();
    await expectAllGone(box);
  });

  forEachOwnTier('or is killed takes its sandbox with it, and nobody waits for ever', async (tier) => {
    using box = new TestBox();
    const sandbox = await create(box, { tier });
    const waiting = [
      codeOf(sandbox.commands.run('sleep 300')),
      codeOf(sandbox.waitForPort(8080)),
      sandbox.commands.run('sleep 300', { background: true }).then((handle) => codeOf(handle.wait())),
    ];
    await sandbox.commands.run('true');
    const stage = processesOf(box).filter((line) => /bwrap|runsc/.test(line));
    expect(stage.length).toBeGreaterThan(0);
    for (const line of stage.slice(-1)) process.kill(Number(line.split(' ')[0]), 'SIGKILL');
    for (const code of await Promise.all(waiting)) expect(code).toMatch(/^E_SANDBOX_(LOST|CLOSED|CRASHED)$/);
    expect((await sandbox.kill()).cause).toBe('lost');
    await expectAllGone(box);
  });
});

describe('a workspace that is removed under a sandbox', () => {
  it('does not keep its end from being one, and ends no process', async () => {
    using box = new TestBox();
    const byItself = await create(box, { timeoutMs: 700 });
    const killed = await create(box);
    rmSync(box.workspace, { recursive: true, force: true });
    expect(await codeOf(killed.kill())).toBe('E_IO');
    await byItself.closed;
    expect(await codeOf(byItself.kill())).toBe('E_IO');
    mkdirSync(box.workspace);
    const causes = box.records().flatMap(({ kind, data }) => (kind === 'run.end' ? [data['cause']] : []));
    expect(causes).toHaveLength(2);
    // Its guards went with it.
    for (const cause of causes) expect(['guard-lost', 'killed', 'ttl']).toContain(cause);
    await expectAllGone(box);
  });
});

describe('what other runs left', () => {
  it('that is not ours is not touched: a directory that a forged entry names', async () => {
    using box = new TestBox();
    const victim = box.write('../victim/file', 'precious');
    const dir = path.join(box.base, 'home/.local/state/glovebox/runs');
    const first = await create(box);
    await first.kill();
    const entry = {
      id: 'sbx_forged',
      owner: { pid: 1, startTicks: '0' },
      held: [],
      temporary: path.dirname(victim),
    };
    box.write(path.join(dir, 'sbx_forged.json'), JSON.stringify(entry));
    const next = await create(box);
    await next.kill();
    expect(existsSync(victim)).toBe(true);
    expect(readdirSync(dir)).toEqual([]);
  });
});
