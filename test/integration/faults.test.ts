import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { AttackBox, PYTHON, until } from '../support/attack.ts';
import { TestBox, type BoxResult } from '../support/box.ts';
import {
  bigTree,
  cgroupsOf,
  expectNothingLeft,
  processesOf,
  sandboxIds,
  writeNamed,
} from '../support/tree.ts';
import { commandText, hostShell, isRoot, mountShell, noMountNamespace, quote } from '../support/users.ts';

/** Refused before anything ran: exit code 125, one error with its code, no stack, no claim of a defect. */
function expectRefusal(result: BoxResult, code: string, words = ''): void {
  expect(result.stderr).toContain(code);
  expect(result.stderr).toContain(words);
  expect(result.stderr).not.toMatch(/^\s+at |E_INTERNAL|node:/m);
  expect(result).toMatchObject({ code: 125, stdout: '' });
}

describe('something is missing', () => {
  it('bubblewrap', async () => {
    using box = new TestBox();
    const result = await box.run(['echo', 'ran'], { env: { GLOVEBOX_BWRAP: '/no/such/bwrap' } });
    expectRefusal(result, 'E_TIER_UNAVAILABLE', 'apt-get install bubblewrap');
    expect(box.listing()).toEqual([]);
  });

  it('the agent', async () => {
    using box = new TestBox();
    const result = await box.run(['echo', 'ran'], { env: { GLOVEBOX_AGENT: '/no/such/agent' } });
    expectRefusal(result, 'E_SANDBOX_START', '/no/such/agent');
    expect(box.listing()).toEqual([]);
  });

  it('an agent or a bubblewrap that does something else is refused in time', async () => {
    using box = new TestBox();
    for (const name of ['GLOVEBOX_AGENT', 'GLOVEBOX_BWRAP']) {
      for (const program of ['/bin/true', '/bin/false']) {
        const result = await box.run(['echo', 'ran'], { env: { [name]: program }, timeoutMs: 20_000 });
        expectRefusal(result, 'E_');
      }
    }
    await expectNothingLeft(box);
    expect((await box.run(['true'])).code).toBe(0);
    expect(box.listing()).toEqual([]);
  });
});

describe('a workspace that cannot be one', () => {
  it.each([
    ['the whole machine', '/', 'whole machine'],
    ['a directory of the system', '/usr', 'directory of the system'],
    ['/tmp itself', '/tmp', 'directory of the system'],
    ['the home directory', '~', 'home directory'],
    ['what holds the home directory', '..', 'home directory'],
    ['missing', 'no-such-directory', 'does not exist'],
    ['a file', 'file', 'not a directory'],
    ['a link to itself', 'cycle', 'leads nowhere'],
    ['a link to the home directory', 'to-home', 'home directory'],
    ['where Glovebox keeps its own files', '~/.local/state', 'its own files'],
    ['a name with a line break', 'line\nbreak', 'control character'],
  ])('%s', async (_what, workspace, words) => {
    using box = new TestBox();
    box.write('file');
    mkdirSync(path.join(box.workspace, 'line\nbreak'));
    mkdirSync(path.join(box.home, '.local/state/glovebox'), { recursive: true, mode: 0o700 });
    symlinkSync('cycle', path.join(box.workspace, 'cycle'));
    symlinkSync(box.home, path.join(box.workspace, 'to-home'));
    const named = workspace.replace(/^~/, box.home).replace(/^\.\.$/, box.base);
    expectRefusal(await box.run(['true'], { flags: ['--workspace', named] }), 'E_WORKSPACE_INVALID', words);
  });

  it('its name is not UTF-8', async () => {
    using box = new TestBox();
    const script = `mkdir $'odd-\\xff' && cd $'odd-\\xff' && ${commandText(['run', '--', 'true'])}`;
    expectRefusal(await hostShell(box, script), 'E_WORKSPACE_INVALID');
  });

  it('the current directory is deleted', async () => {
    using box = new TestBox();
    const result = await hostShell(
      box,
      `mkdir gone; cd gone; rmdir ../gone; ${commandText(['run', '--', 'true'])}`,
    );
    expectRefusal(result, 'E_WORKSPACE_INVALID');
  });

  it.skipIf(isRoot)('the current directory cannot be read (as an ordinary user)', async () => {
    using box = new TestBox();
    const result = await hostShell(
      box,
      `mkdir shut; cd shut; chmod 0 .; ${commandText(['run', '--', 'true'])}; code=$?; chmod 700 "$PWD"; exit $code`,
    );
    expectRefusal(result, 'E_', 'shut');
  });
});

describe('an environment that is not as usual', () => {
  const own = (box: TestBox): Record<string, string> =>
    Object.fromEntries(
      ['CONFIG', 'STATE', 'CACHE'].map((name) => [`XDG_${name}_HOME`, path.join(box.base, name)]),
    );

  it.each([
    ['without XDG_RUNTIME_DIR', { XDG_RUNTIME_DIR: '' }],
    ['with an XDG_RUNTIME_DIR that cannot be', { XDG_RUNTIME_DIR: '/dev/null/runtime' }],
    ['without HOME', { HOME: '' }],
    ['with / as HOME', { HOME: '/' }],
    ['with a HOME that is not there', { HOME: '/no/such/home' }],
    ['with a relative HOME', { HOME: 'relative/home' }],
    ['without PATH', { PATH: '' }],
    ['without anything of the kind', { HOME: '', PATH: '', LANG: '', XDG_RUNTIME_DIR: '' }],
  ])('%s', async (_what, env: Readonly<Record<string, string>>) => {
    using box = new TestBox();
    const scratch = path.join(box.base, 'scratch');
    mkdirSync(scratch);
    const all = { ...own(box), TMPDIR: scratch, ...env };
    const unset = Object.keys(env)
      .filter((name) => env[name] === '')
      .map((name) => `unset ${name};`);
    const script = `${unset.join(' ')} ${commandText(['run', '--', 'bash', '-c', 'echo x > made; echo "$HOME"'])}`;
    const result = await hostShell(box, script, {
      env: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== '')),
    });
    if (env['XDG_RUNTIME_DIR'] !== undefined && env['XDG_RUNTIME_DIR'] !== '')
      return expectRefusal(result, 'E_IO', '/dev/null/runtime');
    expect(result.stderr).toBe('');
    expect(result.code).toBe(0);
    expect(result.stdout).toMatch(/^\/[a-z]/);
    expect(box.listing()).toEqual(['made']);
    return undefined;
  });
});

describe('an odd tree', () => {
  it('with cyclic and dangling links runs, also where they are named', async () => {
    using box = new TestBox();
    symlinkSync('b', path.join(box.workspace, 'a'));
    symlinkSync('a', path.join(box.workspace, 'b'));
    symlinkSync('.', path.join(box.workspace, 'self'));
    symlinkSync('/no/such/file', path.join(box.workspace, '.envrc'));
    const flags = ['--deny', 'a', '--deny', 'self/self/secret', '--deny', '**/*.pem'];
    const result = await box.sh('cat a; echo x > self/secret; echo x > .envrc; echo end', { flags });
    expect(result).toMatchObject({ code: 0, stdout: 'end\n' });
    expect(box.listing()).toEqual(['.envrc', 'a', 'b', 'self']);
  });

  it('with 10,000 files that a glob denies: none can be read or written', async () => {
    using box = new TestBox();
    bigTree(path.join(box.workspace, 'keys'), 100, 100, '.pem');
    const script = `
import glob, os
found = glob.glob('keys/**/*.pem', recursive=True)
opened = 0
for name in found:
    for mode in ('r', 'a'):
        try: open(name, mode).close(); opened += 1
        except OSError: pass
print(len(found), opened)`;
    const result = await box.run([PYTHON, '-c', script], {
      flags: ['--deny', '**/*.pem'],
      timeoutMs: 100_000,
    });
    expect(result).toEqual({ code: 0, signal: null, stdout: '10000 0\n', stderr: '' });
    await expectNothingLeft(box);
  }, 120_000);

  it('with more denied files than a sandbox can hold is refused with what to do', async () => {
    using box = new TestBox();
    bigTree(path.join(box.workspace, 'keys'), 201, 100, '.pem');
    const result = await box.run(['echo', 'ran'], { flags: ['--deny', '**/*.pem'], timeoutMs: 100_000 });
    expectRefusal(result, 'E_POLICY_INVALID', 'Deny the directories');
  }, 120_000);

  it('with names of any bytes: a glob denies them, the rest is usable', async () => {
    using box = new TestBox();
    const names = [
      Buffer.from('new\nline.pem'),
      Buffer.from([0xff, 0xfe, ...Buffer.from('.pem')]),
      Buffer.from(' \t"\'\\.pem'),
      Buffer.from('-rf.pem'),
    ];
    for (const name of names) writeNamed(box.workspace, name, 'secret\n');
    writeNamed(box.workspace, Buffer.from([0xc3, 0x28]), 'open\n');
    const script = `
import os
for name in sorted(os.listdir(b'.')):
    if name.endswith(b'.pem'):
        try: print(open(name).read())
        except PermissionError: print('denied')
print(open(b'\\xc3\\x28').read(), end='')
open(b'new\\xfe\\n', 'w').write('x')`;
    const result = await box.run([PYTHON, '-c', script], { flags: ['--deny', '*.pem'] });
    expect(result).toMatchObject({ code: 0, stdout: `${'denied\n'.repeat(4)}open\n` });
    expect(readdirSync(Buffer.from(box.workspace), { encoding: 'buffer' })).toHaveLength(6);
  });

  it('with 50,000 files runs, and a glob finds the few it names', async () => {
    using box = new TestBox();
    bigTree(box.workspace, 250, 200);
    for (const dir of ['d3', 'd77', 'd249']) box.write(`${dir}/token.key`, 'secret\n');
    const result = await box.sh(
      'find . -type f | wc -l; cat d3/token.key d77/token.key d249/token.key; echo x > d5/made',
      {
        flags: ['--deny', '**/*.key'],
      },
    );
    expect(result.stdout).toBe('50003\n');
    expect(result.stderr.match(/Permission denied/g)).toHaveLength(3);
    expect(box.read('d5/made')).toBe('x\n');
  });
});

describe.skipIf(noMountNamespace)('a disk (needs root and a mount namespace)', () => {
  const mounted = (dir: string, options: string): string =>
    `mkdir -p ${quote(dir)}; mount -t tmpfs -o ${options} none ${quote(dir)};`;
  const fill = (dir: string): string =>
    `dd if=/dev/zero of=${quote(dir)}/filler bs=4k status=none 2>/dev/null || true;`;

  it('that is read-only: the workspace can be read and nothing is written', async () => {
    using box = new TestBox();
    box.write('file', 'text\n');
    const run = commandText(['run', '--', 'bash', '-c', 'cat file; echo x > new; echo x > .envrc; echo end']);
    const bind = `mount --bind . . && mount -o remount,bind,ro . && cd ${quote(box.workspace)}`;
    const result = await mountShell(box, `${bind}; ${run}`);
    expect(result).toMatchObject({ code: 0, stdout: 'text\nend\n' });
    expect(result.stderr.match(/Read-only file system/g)).toHaveLength(2);
    expect(box.listing()).toEqual(['file']);
  });

  it('that is full under the workspace: what is protected stays so, or the run is refused', async () => {
    using box = new TestBox();
    const run = commandText([
      'run',
      '--',
      'bash',
      '-c',
      'echo x > .envrc; rm filler; echo x > .envrc; echo x > .npmrc; echo end',
    ]);
    const result = await mountShell(
      box,
      `${mounted(box.workspace, 'size=1m,nr_inodes=20')} cd ${quote(box.workspace)}; ${fill('.')} for i in $(seq 30); do : > f$i || true; done 2>/dev/null; set +e; ${run}; code=$?; ls -A | grep -c '^\\.'; exit $code`,
    );
    if (result.code === 125) {
      expect(result.stderr).toMatch(/ENOSPC|space/);
      expect(result.stderr).not.toContain('E_INTERNAL');
    } else {
      expect(result.stdout).toContain('end\n');
    }
    expect(result.stdout.trimEnd().split('\n').at(-1)).toBe('0');
  });

  it.each([
    ['full', 'size=64k', (dir: string) => fill(dir)],
    ['out of inodes', 'size=1m,nr_inodes=2', () => ''],
    ['read-only', 'size=1m', (dir: string) => `mount -o remount,ro ${quote(dir)};`],
  ])(
    'that is %s under the state directory: the run is refused and nothing runs',
    async (_what, options, spoil) => {
      using box = new TestBox();
      const state = path.join(box.base, 'state');
      const run = `XDG_STATE_HOME=${quote(state)} ${commandText(['run', '--', 'touch', 'ran'])}`;
      const result = await mountShell(box, `${mounted(state, options)} ${spoil(state)} set +e; ${run}`);
      expectRefusal(result, 'E_AUDIT_UNWRITABLE');
      expect(box.listing()).toEqual([]);
      await expectNothingLeft(box);
    },
  );

  it('that fills up while the command runs: it ends, and the end says so', async () => {
    using box = new AttackBox('process');
    const state = path.join(box.base, 'state');
    const inner = commandText([
      'run',
      '--',
      'bash',
      '-c',
      'echo up; read -r x; for i in $(seq 80); do getent hosts n$i.example; done; echo end',
    ]);
    const script = `${mounted(state, 'size=256k')} set +e; XDG_STATE_HOME=${quote(state)} ${inner}; echo code $?`;
    const result = await mountShell(
      box,
      script.replace('; echo code', ` < <(sleep 1; ${fill(state)} echo go); echo code`),
      {
        timeoutMs: 30_000,
      },
    );
    expect(result.stdout).toContain('up\nend\n');
    expect(result.stdout).toContain('code 125');
    expect(result.stderr).toContain('E_AUDIT_UNWRITABLE');
    await expectNothingLeft(box);
  });
});

describe('killed from outside', () => {
  it('the launcher, at 24 moments of its life: nothing survives, the next run sweeps', async () => {
    using box = new AttackBox('process');
    box.write('kept', 'kept\n');
    for (let i = 0; i < 24; i++) {
      const run = box.start(['bash', '-c', 'setsid sleep 300 & trap "" TERM HUP; while :; do sleep 1; done']);
      // Spread over the whole start; what matters is where in it the kill falls, not what has been reached.
      await delay(i * 8);
      run.child.kill('SIGKILL');
      await run.ended;
      await expectNothingLeft(box);
    }
    expect((await box.run(['cat', 'kept'])).stdout).toBe('kept\n');
    expect(box.listing()).toEqual(['kept']);
    expect(cgroupsOf(sandboxIds(box))).toEqual([]);
    expect((await box.cli(['audit', 'verify'])).code).toBe(0);
    await expectNothingLeft(box);
  }, 120_000);

  it('bubblewrap: the run ends at once and says that the sandbox was lost', async () => {
    using box = new AttackBox('process');
    const run = box.start(['bash', '-c', 'echo up; sleep 300']);
    await run.said('up');
    const jail = processesOf(box).find((line) => line.includes('bwrap'));
    process.kill(Number(jail?.split(' ')[0]), 'SIGKILL');
    const result = await run.ended;
    expect([125, 137]).toContain(result.code);
    expect(result.stderr).toMatch(/^glovebox: /m);
    await expectNothingLeft(box);
    await box.run(['true']);
    expect(box.listing()).toEqual([]);
    expect(box.records().filter((record) => record.kind === 'run.end')).toHaveLength(2);
  });

  it('a launcher that is stopped: the command goes on, and dies with it', async () => {
    using box = new AttackBox('process');
    const run = box.start([
      'bash',
      '-c',
      'echo up; for i in $(seq 40); do echo $i > count; sleep 0.02; done; sleep 300',
    ]);
    await run.said('up');
    run.child.kill('SIGSTOP');
    await until(
      () => box.listing().includes('count') && box.read('count') === '40\n',
      'the command to go on',
    );
    run.child.kill('SIGKILL');
    await run.ended;
    await expectNothingLeft(box);
  });

  it('a launcher that is stopped and continued ends as if nothing had been', async () => {
    using box = new AttackBox('process');
    const run = box.start(['bash', '-c', 'echo up; read -r x; seq 1 50000; exit 3']);
    await run.said('up');
    run.child.kill('SIGSTOP');
    run.tell('go');
    await delay(200);
    run.child.kill('SIGCONT');
    const result = await run.ended;
    expect(result.code).toBe(3);
    expect(result.stdout.endsWith('\n50000\n')).toBe(true);
  });
});

describe('a command that misbehaves', () => {
  it('ignores TERM past its time: killed, 124', async () => {
    using box = new TestBox();
    const result = await box.sh("trap '' TERM INT HUP; echo up; while :; do sleep 1; done", {
      flags: ['--timeout', '500ms'],
    });
    expect(result).toMatchObject({ code: 124, stdout: 'up\n' });
    await expectNothingLeft(box);
  });

  it('leaves a daemon that cut every tie: it ends with the command, and does not hold the run', async () => {
    using box = new TestBox();
    const daemon = `
import os, sys, time, signal
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
open('daemon', 'w').write('up'); time.sleep(300)`;
    const result = await box.sh(
      `${PYTHON} -c ${quote(daemon)}; until [ -e daemon ]; do sleep 0.01; done; echo end`,
      { timeoutMs: 20_000 },
    );
    expect(result).toMatchObject({ code: 0, stdout: 'end\n' });
    await expectNothingLeft(box);
  });

  it('floods its output past --output: ended with 137, the limit named, no more passed on', async () => {
    using box = new TestBox();
    for (const script of ['yes', 'yes >&2']) {
      const result = await box.sh(script, { flags: ['--output', '1MiB'], timeoutMs: 20_000 });
      expect(result.code).toBe(137);
      expect(result.stderr).toContain('limit: output');
      expect(result.stdout.length + result.stderr.length).toBeLessThanOrEqual(1_048_576 + 200);
    }
    expect(
      box
        .records()
        .filter((record) => record.kind === 'limit.hit')
        .map((record) => record.data['limit']),
    ).toEqual(['output', 'output']);
    await expectNothingLeft(box);
  });

  it('forks without end: stopped at --pids', async () => {
    using box = new TestBox();
    const bomb = `
import os, time
made = 0
for _ in range(400):
    try:
        if os.fork() == 0: time.sleep(300); os._exit(0)
    except OSError: break
    made += 1
print(made)`;
    const result = await box.run([PYTHON, '-c', bomb], { flags: ['--pids', '50'], timeoutMs: 20_000 });
    expect(Number(result.stdout)).toBeGreaterThan(0);
    // The few processes of the sandbox itself come on top.
    expect(Number(result.stdout)).toBeLessThanOrEqual(53);
    await expectNothingLeft(box);
    expect(cgroupsOf(sandboxIds(box))).toEqual([]);
  });

  it('fills memory: stopped at --memory', async () => {
    using box = new TestBox();
    const hog = 'data = []\nfor i in range(600): data.append(bytearray(1 << 20))\nprint("got it all")';
    const result = await box.run([PYTHON, '-c', hog], { flags: ['--memory', '100MiB'], timeoutMs: 30_000 });
    expect(result.stdout).toBe('');
    expect(result.code === 137 || result.stderr.includes('MemoryError')).toBe(true);
    if (result.code === 137) expect(result.stderr).toContain('limit: memory');
    await expectNothingLeft(box);
    expect(cgroupsOf(sandboxIds(box))).toEqual([]);
  });

  it('spends memory in many processes: stopped at --memory where a control group holds it, else refused when required', async () => {
    using box = new TestBox();
    box.policy('version: 1\nlimits: { require: [memory] }\n');
    const hogs =
      'for i in 1 2 3 4 5 6; do python3 -c "data = bytearray(60 << 20); import time; time.sleep(1); print(1)" & done; wait';
    const result = await box.sh(hogs, { flags: ['--memory', '200MiB'], timeoutMs: 30_000 });
    if (result.code === 125) return expectRefusal(result, 'E_LIMIT_UNAVAILABLE', 'memory');
    expect(result.stdout.length).toBeLessThan(12);
    return undefined;
  });

  it.each(['/tmp', '/dev/shm', '$HOME', '/var/tmp'])('fills %s: stopped at its size', async (dir) => {
    using box = new TestBox();
    box.policy('version: 1\nfilesystem: { tmp: 8MiB }\n');
    const result = await box.sh(
      `dd if=/dev/zero of=${dir}/fill bs=1M count=64 status=none; stat -c %s ${dir}/fill`,
    );
    expect(result.stderr).toContain('No space left on device');
    expect(Number(result.stdout)).toBeLessThanOrEqual(8 * 1024 * 1024);
  });

  it('writes a file past --file-size: ended by the signal', async () => {
    using box = new TestBox();
    const result = await box.sh('dd if=/dev/zero of=big bs=64k count=64; stat -c %s big', {
      flags: ['--file-size', '1MiB'],
    });
    expect(result.stdout).toBe('1048576\n');
  });

  it('opens files past --files: refused', async () => {
    using box = new TestBox();
    const script =
      'import os\nn = 0\ntry:\n    while True: os.open("/dev/null", 0); n += 1\nexcept OSError as e: print(n < 64, e.errno)';
    expect((await box.run([PYTHON, '-c', script], { flags: ['--files', '64'] })).stdout).toBe('True 24\n');
  });
});

it('two users of one runtime directory do not meet: a directory of somebody else is refused', async () => {
  using box = new TestBox();
  const foreign = realpathSync(mkdtempSync('/var/tmp/gbx-'));
  try {
    writeFileSync(path.join(foreign, 'glovebox'), 'a file where the directory should be');
    expectRefusal(await box.run(['true'], { env: { XDG_RUNTIME_DIR: foreign } }), 'E_IO', foreign);
  } finally {
    rmSync(foreign, { recursive: true });
  }
});
