import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, inject, it } from 'vitest';
import { Sandbox, type SandboxOptions } from '../../src/index.ts';
import { lendMachines, needsProgram } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { EgressBox, LLM } from '../support/egress-box.ts';
import { codeOf, create, eventually, expectAllGone, registeredIds, Script } from '../support/sdk.ts';
import { cgroupsOf, expectNothingLeft, membersOf, processesOf } from '../support/tree.ts';

/** What QEMU may still do for itself while its machine stands still, in clock ticks. A machine that runs takes a hundred a second. */
const IDLE_TICKS = 20;

/** How far a clock may be behind on a busy host. */
const CLOCK_MS = 5_000;

const missing = inject('machineMissing') ?? needsProgram('bwrap');
/** An emulated machine on a busy host. */
const PATIENCE_MS = 400_000;
const machines = (name: string, tests: () => void): unknown =>
  describe.skipIf(missing !== undefined)(
    missing === undefined ? name : `${name} (skipped: ${missing})`,
    { timeout: PATIENCE_MS },
    tests,
  );

class MachineBox extends TestBox {
  constructor() {
    super();
    lendMachines(this);
  }

  create(options: SandboxOptions = {}): Promise<Sandbox> {
    const wanted = { workspace: this.workspace, hostEnv: this.env(), tier: 'vm' } as const;
    return Sandbox.create({ ...wanted, limits: { memory: '256MiB' }, ...options });
  }

  /** Directories of machines, and of copies in the making. */
  machines(): readonly string[] {
    const dir = path.join(this.base, 'run/glovebox/machines');
    return existsSync(dir) ? readdirSync(dir) : [];
  }

  /** Ticks of the processor that every QEMU of the box has used. */
  qemuTicks(): number {
    const pids = processesOf(this).filter((line) => /^\d+ \S*qemu-system-\S+ /.test(line));
    return pids.reduce((sum, line) => sum + ticksOf(Number(line.split(' ')[0])), 0);
  }
}

/** proc_pid_stat(5): utime and stime. */
function ticksOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
}

const textOf = async (sandbox: Sandbox, command: string): Promise<string> =>
  (await sandbox.commands.run(command)).stdout.trim();

/** A number that grows while the program runs: proof that it goes on, and from where. */
const COUNTER = 'i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.3; done';

async function counting(sandbox: Sandbox): Promise<readonly [number, number]> {
  const text = await textOf(sandbox, 'cat /tmp/count; sleep 1; cat /tmp/count');
  const [before = Number.NaN, after = Number.NaN] = text.split('\n').map(Number);
  return [before, after];
}

machines('a pause', () => {
  it('stops the whole machine, and the clock is right afterwards', async () => {
    using box = new MachineBox();
    const sandbox = await box.create();
    const busy = await sandbox.commands.run('while :; do :; done', { background: true });
    const asked = sandbox.commands.run('sleep 1; echo done');
    asked.catch(() => undefined);
    await sandbox.pause();
    await sandbox.pause();
    const before = box.qemuTicks();
    expect(before).toBeGreaterThan(0);
    await delay(3_000);
    expect(box.qemuTicks() - before).toBeLessThan(IDLE_TICKS);
    expect(await sandbox.isRunning()).toBe(false);
    await sandbox.resume();
    await sandbox.resume();
    expect((await asked).stdout).toBe('done\n');
    const asking = Date.now();
    const inside = Number(await textOf(sandbox, 'date +%s%3N'));
    // Told while three of them share two processors, it is behind by as long as that took.
    expect(inside).toBeGreaterThan(asking - CLOCK_MS);
    expect(inside).toBeLessThan(Date.now() + 1_000);
    expect(await busy.kill()).toBe(true);
    await sandbox.kill();
    expect(await codeOf(sandbox.pause())).toBe('E_SANDBOX_CLOSED');
    expect(await codeOf(sandbox.resume())).toBe('E_SANDBOX_CLOSED');
    await expectNothingLeft(box);
  });

  it('ends with the sandbox', async () => {
    using box = new MachineBox();
    const sandbox = await box.create();
    await sandbox.pause();
    await sandbox.kill();
    await expectNothingLeft(box);
  });
});

const nested = missing ?? needsProgram('runsc');

describe.skipIf(nested !== undefined)('a machine with gVisor in it', { timeout: 2 * PATIENCE_MS }, () => {
  it('pauses, and is not copied', async () => {
    using box = new MachineBox();
    const sandbox = await box.create({ tier: 'vm+gvisor', limits: { memory: '768MiB' } });
    const asked = sandbox.commands.run('sleep 1; echo done');
    asked.catch(() => undefined);
    await sandbox.pause();
    const before = box.qemuTicks();
    await delay(2_000);
    expect(box.qemuTicks() - before).toBeLessThan(IDLE_TICKS);
    await sandbox.resume();
    const resumed = Date.now();
    expect((await asked).stdout).toBe('done\n');
    expect(Number(await textOf(sandbox, 'date +%s%3N'))).toBeGreaterThan(resumed - CLOCK_MS);
    await expect(sandbox.fork()).rejects.toMatchObject({ code: 'E_UNSUPPORTED', why: /gVisor/ });
    await sandbox.kill();
    await expectNothingLeft(box, 10_000);
  });
});

/** One line for each source of chance, and one for each name. */
const CHANCE = `head -c 16 /dev/urandom | od -An -tx1
head -c 16 /dev/random | od -An -tx1
cat /proc/sys/kernel/random/uuid
cat /proc/sys/kernel/random/boot_id
python3 -c 'import os, uuid; print(os.getrandom(16).hex()); print(uuid.uuid4())'
openssl rand -hex 16 2>/dev/null || python3 -c 'import ssl; print(ssl.RAND_bytes(16).hex())'
hostname`;

/** Draws as soon as it is let go on, over and over, and remembers what it drew. */
const DRAWER = `python3 -u -c '
import os, time
while True:
    open("/tmp/drawn", "a").write(os.urandom(16).hex() + "\\n")
    time.sleep(0.05)'`;

machines('a fork', () => {
  it('goes on with what ran, and shares no random number, token or name', async () => {
    using box = new MachineBox();
    const parent = await box.create({ name: 'parent', metadata: { of: 'a test' } });
    await parent.commands.run(COUNTER, { background: true });
    await parent.commands.run(DRAWER, { background: true });
    await parent.files.write('here', 'from before');
    const held = await textOf(parent, 'until [ -s /tmp/drawn ]; do sleep 0.1; done; wc -l < /tmp/drawn');
    const forks = await parent.fork(2);
    const all = [parent, ...forks];
    expect(new Set(all.map(({ id }) => id)).size).toBe(3);
    const drawn = await Promise.all(all.map((one) => textOf(one, CHANCE)));
    const lines = drawn.flatMap((text) => text.split('\n').map((line) => line.trim()));
    expect(lines).toHaveLength(24);
    expect(new Set(lines).size).toBe(24);
    // What the same program drew before the copy is the same in all of them, and nothing that it drew after.
    const logs = await Promise.all(all.map((one) => textOf(one, 'cat /tmp/drawn')));
    const [own = [], first = [], second = []] = logs.map((text) => text.split('\n'));
    const shared = first.filter((line) => second.includes(line)).length;
    expect(shared).toBeGreaterThanOrEqual(Number(held));
    expect(first.slice(0, shared)).toEqual(own.slice(0, shared));
    expect(new Set([...own, ...first.slice(shared), ...second.slice(shared)]).size).toBe(
      own.length + first.length + second.length - 2 * shared,
    );
    for (const fork of forks) {
      const [before, after] = await counting(fork);
      expect(after).toBeGreaterThan(before);
      expect(await fork.files.read('here')).toBe('from before');
      expect((await fork.getInfo()).name).toBeUndefined();
      expect((await fork.getInfo()).metadata).toEqual({ of: 'a test' });
    }
    expect(box.machines().filter((name) => name.startsWith('copy'))).toEqual([]);
    const starts = box.records().filter(({ kind }) => kind === 'run.start');
    expect(starts.map(({ data }) => data['copyOf'])).toEqual([undefined, parent.id, parent.id]);
    // Each ends by itself.
    await parent.kill();
    const [, after] = await counting(forks[0] ?? parent);
    expect(after).toBeGreaterThan(0);
    expect(await forks[0]?.fork().then((more) => more.length)).toBe(1);
    for (const sandbox of [...forks]) await sandbox.kill();
  });

  it('leaves to the parent what the parent asked for; in the copy it is a process among others', async () => {
    using box = new MachineBox();
    const parent = await box.create();
    const talks = await parent.commands.run('while :; do echo talk; sleep 0.1; done', { background: true });
    const asked = parent.commands.run('sleep 3; echo mine');
    const [fork] = await parent.fork();
    if (fork === undefined) throw new Error('there is no copy');
    expect((await asked).stdout).toBe('mine\n');
    expect(await fork.commands.list()).toEqual([]);
    const copied = (await fork.processes()).find(({ pid }) => pid === talks.pid);
    expect(copied).toMatchObject({ pid: talks.pid });
    // It says more than a pipe holds: nobody reads it, and it is not stopped by that.
    await fork.commands.run(`kill ${talks.pid}`);
    expect((await fork.processes()).some(({ pid }) => pid === talks.pid)).toBe(false);
    expect((await parent.processes()).some(({ pid }) => pid === talks.pid)).toBe(true);
    await Promise.all([parent.kill(), fork.kill()]);
    await expectNothingLeft(box);
  });

  it('has placeholders of its own, and refuses those of the parent', async () => {
    await using box = new EgressBox('vm', {
      llm: { preset: undefined, methods: ['GET'], paths: ['/v1/**'] },
    });
    await using parent = await box.create();
    const ask = (key: string): string =>
      `curl -s -o /dev/null -w '%{http_code}' --max-time 60 -H "x-api-key: ${key}" https://${LLM}/v1/models`;
    const theirs = await textOf(parent, 'echo $LLM_API_KEY');
    const [fork] = await parent.fork();
    if (fork === undefined) throw new Error('there is no copy');
    await using copy = fork;
    expect(await textOf(copy, 'echo $LLM_API_KEY')).not.toBe(theirs);
    expect(await textOf(copy, ask('$LLM_API_KEY'))).toBe('200');
    expect(box.arrived.at(-1)?.headers['x-api-key']).toBe(box.secret);
    const before = box.arrived.length;
    expect(await textOf(copy, ask(theirs))).toBe('403');
    expect(box.arrived).toHaveLength(before);
    const refused = box.records().find((one) => one.sandbox === copy.id && one.data['action'] === 'deny');
    expect(refused?.data).toMatchObject({ host: LLM, rule: 'structural.pin.foreign' });
    expect(await textOf(parent, ask('$LLM_API_KEY'))).toBe('200');
  });
});

machines('no fork', () => {
  it('of a number that is none, of a sandbox that is paused, or over', async () => {
    using box = new MachineBox();
    const sandbox = await box.create();
    for (const count of [0, -1, 1.5, Number.NaN]) expect(await codeOf(sandbox.fork(count))).toBe('E_USAGE');
    expect(await codeOf(sandbox.fork(1000))).toBe('E_LIMIT_EXCEEDED');
    await sandbox.pause();
    expect(await codeOf(sandbox.fork())).toBe('E_USAGE');
    await sandbox.resume();
    expect(await textOf(sandbox, 'echo works')).toBe('works');
    await sandbox.kill();
    expect(await codeOf(sandbox.fork())).toBe('E_SANDBOX_CLOSED');
    await expectNothingLeft(box);
  });

  it('of a sandbox without a machine, and of a workspace that waits for a review', async () => {
    using box = new MachineBox();
    await using shared = await create(box, { tier: 'process' });
    await expect(shared.fork()).rejects.toMatchObject({ code: 'E_UNSUPPORTED', next: /tier: "vm"/ });
    await using reviewed = await box.create({ review: true });
    await expect(reviewed.fork()).rejects.toMatchObject({ code: 'E_UNSUPPORTED', why: /review/ });
    expect(await textOf(reviewed, 'echo works')).toBe('works');
  });

  it('of one whose credentials or rules were changed: a copy would have those of its start', async () => {
    using box = new MachineBox();
    const sandbox = await box.create({ allow: ['example.com'] });
    await sandbox.network.update({ allow: [] });
    await expect(sandbox.fork()).rejects.toMatchObject({ code: 'E_UNSUPPORTED', why: /were changed/ });
    await sandbox.kill();
  });

  it('of a machine that was booted', async () => {
    using box = new MachineBox();
    await using sandbox = await box.create({ hostEnv: box.env({ GLOVEBOX_VM_TEMPLATE: 'off' }) });
    await expect(sandbox.fork()).rejects.toMatchObject({ code: 'E_UNSUPPORTED', why: /template/ });
    await sandbox.pause();
    await sandbox.resume();
    expect(await textOf(sandbox, 'echo works')).toBe('works');
  });

  it('without room for the copied memory', async () => {
    using box = new MachineBox();
    // tmpfs(5): less than a guest's kernel alone has written to.
    const run = path.join(box.base, 'small');
    mkdirSync(run, { mode: 0o700 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=0700', 'small', run]);
    try {
      await using sandbox = await box.create({ hostEnv: box.env({ XDG_RUNTIME_DIR: run }) });
      const failed = sandbox.fork();
      await expect(failed).rejects.toMatchObject({ code: 'E_IO', what: /no room/ });
      expect(readdirSync(path.join(run, 'glovebox/machines'))).toHaveLength(1);
      expect(await textOf(sandbox, 'echo works')).toBe('works');
    } finally {
      execFileSync('umount', ['-l', run]);
    }
    await expectNothingLeft(box, 10_000);
  });

  it('leaves anything behind when its launcher is killed half-way', async () => {
    using box = new MachineBox();
    using script = new Script(
      box,
      'vm',
      `const sandbox = await Sandbox.create({ ...options, limits: { memory: '256MiB' } });
       say(sandbox.id);
       await sandbox.fork(2);
       say('too late');`,
    );
    const parent = String(await script.next());
    await expect
      .poll(() => box.machines().some((name) => name.startsWith('copy')), { timeout: 60_000, interval: 5 })
      .toBe(true);
    const ids = [parent, ...registeredIds(box)];
    script.child.kill('SIGKILL');
    await script.ended;
    await eventually(() => processesOf(box)).toEqual([]);
    // What is dying has no arguments any more, and is in its group until it is dead.
    await eventually(() => cgroupsOf(ids).map(membersOf).join('')).toBe('');
    // What has a name is removed by the next start.
    await (await box.create()).kill();
    await expectAllGone(box, ids);
    expect(box.machines()).toEqual([]);
    await expectNothingLeft(box);
  });
});
