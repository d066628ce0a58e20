import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, inject, it } from 'vitest';
import { Sandbox, type SandboxOptions } from '../../src/index.ts';
import { isGloveboxError } from '../../src/base/errors.ts';
import { lendMachines, needsArch, needsProgram, until } from '../support/attack.ts';
import { TestBox, type BoxResult } from '../support/box.ts';
import { faultyAgent, type Fault } from '../support/faults/build.ts';
import { codeOf, eventually, expectAllGone, registeredIds, Script } from '../support/sdk.ts';
import { cgroupsOf, expectNothingLeft, membersOf, processesOf } from '../support/tree.ts';

const missing = inject('machineMissing') ?? needsProgram('bwrap');
const compiler = missing ?? needsProgram('cc') ?? needsArch('x64');
const machines = describe.skipIf(missing !== undefined);
const title = (name: string, needs = missing): string =>
  needs === undefined ? name : `${name} (skipped: ${needs})`;

const MIB = 1024 ** 2;
const TIER = ['--tier', 'vm'] as const;
/** The least that the tier takes. */
const SMALL = [...TIER, '--memory', '128MiB'] as const;
/** An emulated machine on a busy host. */
const PATIENCE_MS = 180_000;

class MachineBox extends TestBox {
  constructor() {
    super();
    lendMachines(this);
  }

  create(options: SandboxOptions = {}, env: Readonly<Record<string, string>> = {}): Promise<Sandbox> {
    const wanted = { workspace: this.workspace, hostEnv: this.env(env), tier: 'vm' } as const;
    return Sandbox.create({ ...wanted, limits: { memory: '256MiB' }, ...options });
  }

  /** The outermost processes' children that match, by what they are called. */
  pids(name: RegExp): readonly number[] {
    return processesOf(this)
      .filter((line) => name.test(line.split(' ').slice(1).join(' ')))
      .map((line) => Number(line.split(' ')[0]));
  }

  /** Directories of machines that are not gone. */
  machines(): readonly string[] {
    const dir = path.join(this.base, 'run/glovebox/machines');
    return existsSync(dir) ? readdirSync(dir) : [];
  }
}

/** QEMU itself, not the jail whose arguments name it. */
const QEMU = /^\S*qemu-system-\S+ /;
const VIEW = /virtiofsd.* --socket-path=\S*\/view/;

async function killed(box: MachineBox, name: RegExp, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  await until(() => box.pids(name).length > 0, `${name} to run`);
  for (const pid of box.pids(name)) process.kill(pid, signal);
}

function expectRefusal(result: BoxResult, code: string, words: string): void {
  expect(result.stderr).toContain(code);
  expect(result.stderr).toContain(words);
  expect(result.stderr).not.toMatch(/^\s+at |E_INTERNAL|node:/m);
  expect(result).toMatchObject({ code: 125, stdout: '' });
}

machines(title('something is missing'), () => {
  it.each<readonly [string, Readonly<Record<string, string>>, string, string]>([
    ['QEMU', { GLOVEBOX_QEMU: '/no/such/qemu' }, 'E_TIER_UNAVAILABLE', '/no/such/qemu'],
    ['the kernel', { GLOVEBOX_KERNEL: '/no/such/kernel' }, 'E_TIER_UNAVAILABLE', '/no/such/kernel'],
    ['virtiofsd', { GLOVEBOX_VIRTIOFSD: '/no/such/virtiofsd' }, 'E_TIER_UNAVAILABLE', 'virtiofsd'],
    ['a cache that can be written', { XDG_CACHE_HOME: '/dev/null/cache' }, 'E_IO', '/dev/null/cache'],
    ['sense in GLOVEBOX_VM_ACCEL', { GLOVEBOX_VM_ACCEL: 'hvf' }, 'E_TIER_UNAVAILABLE', 'hvf'],
  ])('%s', async (_what, env, code, words) => {
    using box = new MachineBox();
    expectRefusal(await box.run(['echo', 'ran'], { flags: TIER, env }), code, words);
    await expectNothingLeft(box);
    expect(box.machines()).toEqual([]);
  });

  it('mkfs.erofs, for a base that is no part of the host', async () => {
    using box = new MachineBox();
    for (const name of ['../base/etc/passwd', '../base/usr/bin/true'])
      box.write(name, 'root:x:0:0::/:/bin/sh\n');
    const flags = [...TIER, '--image', path.join(box.home, 'base')];
    const env = { GLOVEBOX_MKFS_EROFS: '/no/such/mkfs' };
    expectRefusal(await box.run(['true'], { flags, env }), 'E_TIER_UNAVAILABLE', '/no/such/mkfs');
    await expectNothingLeft(box);
  });

  it('a kernel of this architecture', async () => {
    using box = new MachineBox();
    const other = Buffer.alloc(4096);
    // Documentation/arch/arm64/booting.rst: the magic number of an arm64 image; that of an x86 one is "HdrS" at 0x202.
    if (process.arch === 'x64') other.write('ARM\u0064', 0x38, 'latin1');
    else other.write('HdrS', 0x202, 'latin1');
    const file = path.join(box.base, 'kernel');
    writeFileSync(file, other);
    expectRefusal(
      await box.run(['true'], { flags: TIER, env: { GLOVEBOX_KERNEL: file } }),
      'E_TIER_UNAVAILABLE',
      file,
    );
  });

  it('memory for the kernel itself', async () => {
    using box = new MachineBox();
    const result = await box.run(['true'], { flags: [...TIER, '--memory', '64MiB'] });
    expectRefusal(result, 'E_LIMIT_UNAVAILABLE', '128MiB');
    expect(box.machines()).toEqual([]);
  });
});

machines(title('a machine that is lost'), () => {
  it(
    'because QEMU was killed: typed, the workspace as it was, and restart goes on',
    { timeout: PATIENCE_MS },
    async () => {
      using box = new MachineBox();
      const sandbox = await box.create({ name: 'kept', metadata: { of: 'the test' } });
      await sandbox.commands.run('echo before > file');
      const waiting = codeOf(sandbox.commands.run('sleep 300'));
      await killed(box, QEMU);
      expect(await waiting).toBe('E_SANDBOX_CRASHED');
      const reason = await sandbox.closed;
      expect(isGloveboxError(reason) && reason.code).toBe('E_SANDBOX_CRASHED');
      const report = await sandbox.kill();
      expect(report.cause).toBe('lost');
      expect(report.receipt.items.filter(({ gone }) => !gone)).toEqual([]);
      expect(box.read('file')).toBe('before\n');

      const again = await sandbox.restart();
      expect(again.id).not.toBe(sandbox.id);
      expect(await again.getInfo()).toMatchObject({ name: 'kept', metadata: { of: 'the test' }, tier: 'vm' });
      expect((await again.commands.run('cat file')).stdout).toBe('before\n');
      await again.kill();
      rmSync(path.join(box.workspace, 'file'));
      await expectAllGone(box);
      expect(box.machines()).toEqual([]);
    },
  );

  it('because its file server was killed', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    const sandbox = await box.create();
    const waiting = codeOf(sandbox.commands.run('sleep 300'));
    await killed(box, VIEW);
    expect(await waiting).toBe('E_SANDBOX_CRASHED');
    expect(String((await sandbox.closed)?.message)).toContain('the file server of view ended');
    await sandbox.kill();
    await expectAllGone(box);
  });

  it('because it hangs; one that is paused is left alone', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    using other = new MachineBox();
    const [hung, paused] = await Promise.all([box.create(), other.create()]);
    await paused.pause();
    await killed(box, QEMU, 'SIGSTOP');
    const reason = await hung.closed;
    expect(isGloveboxError(reason) && reason.code).toBe('E_SANDBOX_CRASHED');
    expect(String(reason?.message)).toContain('has not answered for half a minute');
    await paused.resume();
    expect((await paused.commands.run('echo works')).stdout).toBe('works\n');
    await Promise.all([hung.kill(), paused.kill()]);
    await Promise.all([expectAllGone(box), expectAllGone(other)]);
  });
});

describe.skipIf(compiler !== undefined)(title('a machine whose first process is hostile', compiler), () => {
  const run = (box: MachineBox, fault: Fault, command: readonly string[]): Promise<BoxResult> =>
    box.run(command, {
      flags: SMALL,
      env: { GLOVEBOX_AGENT: faultyAgent(box, fault), GLOVEBOX_VM_TEMPLATE: 'off' },
      timeoutMs: PATIENCE_MS,
    });

  it('panics at once: the console says so', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    expectRefusal(await run(box, 'die', ['true']), 'E_SANDBOX_START', 'Attempted to kill init');
    await expectNothingLeft(box);
  });

  it(
    'switches itself off without a word: booted once more, and no more',
    { timeout: PATIENCE_MS },
    async () => {
      using box = new MachineBox();
      const result = await run(box, 'silent', ['true']);
      expectRefusal(result, 'E_SANDBOX_START', 'QEMU ended with 0');
      expect(result.stderr.match(/is booted once more/g)).toHaveLength(1);
      // Nothing is in the record twice.
      const kinds = box.records().map(({ kind }) => kind);
      expect(kinds).toContain('run.refused');
      expect([...new Set(kinds)]).toEqual(kinds);
      await expectNothingLeft(box);
      expect(box.machines()).toEqual([]);
    },
  );

  it(
    'never switches itself off: it is ended, and the command was what it was',
    { timeout: PATIENCE_MS },
    async () => {
      using box = new MachineBox();
      const result = await run(box, 'stays', ['bash', '-c', 'echo ran; exit 7']);
      expect(result).toMatchObject({ code: 7, stdout: 'ran\n' });
      await expectNothingLeft(box);
      expect(box.machines()).toEqual([]);
    },
  );

  it('panics while a command runs: typed, with the panic first', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    const result = await run(box, 'panic', ['bash', '-c', 'echo before > file; sync; sleep 300; true']);
    expect(result.stderr).toContain(
      'the machine ended by itself: Kernel panic - not syncing: sysrq triggered crash',
    );
    expect(result.stderr).toContain('E_SANDBOX_CRASHED');
    expect(result.code).toBe(125);
    expect(box.read('file')).toBe('before\n');
    await expectNothingLeft(box);
  });

  it('floods the channel with what is no frame', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    const result = await run(box, 'garbage', ['true']);
    expect(result.stderr).toMatch(/E_PROTOCOL|E_SANDBOX_START/);
    expect(result.code).toBe(125);
    await expectNothingLeft(box);
  });

  it('floods the console: its last words are told, and no more', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    const result = await run(box, 'console', ['true']);
    expectRefusal(result, 'E_SANDBOX_START', 'Attempted to kill init');
    expect(result.stderr.length).toBeLessThan(4096);
    await expectNothingLeft(box);
  });
});

/** Children until one is refused; says whether that was at the limit, and ends them. */
const FORKS = `
import os, time
made = []
try:
    while True:
        pid = os.fork()
        if pid == 0: time.sleep(60)
        made.append(pid)
except OSError: print(8 < len(made) < 32, flush=True)
for pid in made: os.kill(pid, 9)
`;

machines(title('what a guest may use'), () => {
  it(
    'memory: what takes too much is ended, the rest lives, and the record names the limit',
    { timeout: PATIENCE_MS },
    async () => {
      using box = new MachineBox();
      const sandbox = await box.create({ limits: { memory: '192MiB' } });
      const eats = 'python3 -c "b=[]\nwhile True: b.append(bytearray(8 << 20))"; echo $?';
      expect((await sandbox.commands.run(eats)).stdout).toBe('137\n');
      expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
      const { usage } = await sandbox.kill();
      expect(usage.hit).toEqual(['memory']);
      expect(box.records().filter(({ kind }) => kind === 'limit.hit')).toMatchObject([
        { data: { limit: 'memory' } },
      ]);
      await expectAllGone(box);
    },
  );

  it('memory: code is told so in a word', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    const words = ['code', 'run', '--json', ...TIER, '--memory', '192MiB', '--language', 'python', '-'];
    const input = 'b=[]\nwhile True: b.append(bytearray(8 << 20))\n';
    const result = await box.cli(words, { input, timeoutMs: PATIENCE_MS });
    expect(JSON.parse(result.stdout)).toMatchObject({ status: 'memory-limit' });
  });

  it('processes, open files, the length of a file, and /tmp', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    const limits = { memory: '256MiB', pids: '32', files: '64', fileSize: '1MiB' } as const;
    const sandbox = await box.create({ limits });
    const forks = await sandbox.commands.run(`python3 -c '${FORKS}'`);
    expect(forks.stdout).toBe('True\n');
    expect((await sandbox.commands.run('ulimit -n')).stdout).toBe('64\n');
    expect((await sandbox.commands.run('head -c 2000000 /dev/zero > long; echo $?')).stdout).not.toBe('0\n');
    expect((await sandbox.commands.run('stat -c %s long; rm long')).stdout).toBe(`${MIB}\n`);
    // The file server holds each open that the guest knows of.
    await sandbox.commands.run(
      'mkdir many; cd many; for i in $(seq 3000); do : > f$i; done; cd ..; ls many | wc -l; rm -r many',
    );
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
    await sandbox.kill();
    await expectAllGone(box);
  });

  it('a scratch space that is full is full, and no end', { timeout: PATIENCE_MS }, async () => {
    using box = new MachineBox();
    const result = await box.sh(
      'for i in 1 2 3 4; do head -c 400M /dev/zero > /tmp/f$i; done; rm -f /tmp/f*; echo alive',
      {
        flags: [...TIER, '--memory', '256MiB'],
        timeoutMs: PATIENCE_MS,
      },
    );
    // The machine's memory is what it is kept in: it is full first, or what fills it is ended.
    expect(result.stderr).toMatch(/No space left|Killed|memory/);
    expect([0, 137]).toContain(result.code);
    await expectNothingLeft(box);
  });
});

machines(title('many, and none left'), () => {
  it('twenty at once answer and end', { timeout: 600_000 }, async () => {
    using box = new MachineBox();
    await box.run(['true'], { flags: SMALL, timeoutMs: PATIENCE_MS });
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        box.run(['bash', '-c', `echo $((${i} * 7))`], { flags: SMALL, timeoutMs: 500_000 }),
      ),
    );
    for (const [i, result] of all.entries()) expect(result).toMatchObject({ code: 0, stdout: `${i * 7}\n` });
    await expectNothingLeft(box, 10_000);
    expect(box.machines()).toEqual([]);
  });

  it(
    'a launcher that is killed at any moment leaves nothing after the next start',
    { timeout: 600_000 },
    async () => {
      using box = new MachineBox();
      const source = `say('go'); const box = await Sandbox.create(options); say(box.id); await box.closed;`;
      const whole = await startLength(box, source);
      const ids = new Set<string>();
      for (let i = 0; i < 8; i++) {
        using script = new Script(box, 'vm', source);
        await script.next();
        await delay((i * whole * 1.2) / 7);
        for (const id of registeredIds(box)) ids.add(id);
        script.child.kill('SIGKILL');
        await script.ended;
      }
      await eventually(() => processesOf(box)).toEqual([]);
      // What is dying has no arguments and no mounts any more, and is in its group until it is dead.
      await eventually(() =>
        cgroupsOf([...ids])
          .map(membersOf)
          .join(''),
      ).toBe('');
      const next = await box.create();
      expect(box.machines()).toHaveLength(1);
      await next.kill();
      await expectAllGone(box, [...ids]);
      expect(box.machines()).toEqual([]);
    },
  );
});

/** Milliseconds from `go` to a sandbox that answers. */
async function startLength(box: TestBox, source: string): Promise<number> {
  using script = new Script(box, 'vm', source);
  await script.next();
  const begin = performance.now();
  await script.next();
  return performance.now() - begin;
}
