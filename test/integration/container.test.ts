import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isGloveboxError, Sandbox, type SandboxOptions } from '../../src/index.ts';
import { hostLoopbackPolicy, needsProgram, onTerminal, AttackBox, until } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { expectNothingLeft } from '../support/tree.ts';

const missing = needsProgram('runsc') ?? needsProgram('bwrap');
const container = describe.skipIf(missing !== undefined);
const TIER = ['--tier', 'container'] as const;

/** Fills one pipe after another, each with a MiB: memory of the guest kernel itself. */
const PIPES = `import os, fcntl
keep = []
while True:
    keep.append(os.pipe())
    fcntl.fcntl(keep[-1][1], 1031, 1 << 20)
    os.set_blocking(keep[-1][1], False)
    os.write(keep[-1][1], bytes(1 << 20))`;

function create(box: TestBox, options: SandboxOptions = {}): Promise<Sandbox> {
  return Sandbox.create({ workspace: box.workspace, hostEnv: box.env(), tier: 'container', ...options });
}

container(`a run in the container tier${missing === undefined ? '' : ` (skipped: ${missing})`}`, () => {
  it('has a kernel of its own, the ids of every sandbox, and the workspace', async () => {
    using box = new TestBox();
    box.write('in.txt', 'from the host\n');
    const result = await box.sh('uname -r; id -u; cat in.txt; echo back > out.txt; stat -c %u:%a out.txt', {
      flags: TIER,
    });
    expect(result).toMatchObject({ code: 0, stdout: '4.4.0\n1000\nfrom the host\n1000:644\n' });
    expect(box.read('out.txt')).toBe('back\n');
    expect(statSync(path.join(box.workspace, 'out.txt')).uid).toBe(process.getuid?.());
    expect(box.records().find((record) => record.kind === 'run.start')?.data['tier']).toBe('container');
  });

  it('passes input, output, errors and the exit code', async () => {
    using box = new TestBox();
    const result = await box.sh('cat; echo err >&2; exit 7', { flags: TIER, input: 'typed\n' });
    expect([result.code, result.stdout, result.stderr]).toEqual([7, 'typed\n', 'err\n']);
    const killed = await box.sh('kill -KILL $$', { flags: TIER });
    expect(killed.code).toBe(137);
    expect((await box.run(['no-such-program'], { flags: TIER })).code).toBe(127);
  });

  it('appends to a file that others write to as well', async () => {
    using box = new TestBox();
    const out = path.join(box.base, 'out.log');
    const words = [...TIER, '--', 'bash', '-c', 'echo inside; sleep 0.2; echo inside'].join(' ');
    writeFileSync(
      path.join(box.base, 'both.sh'),
      `(${process.execPath} "$1" run ${TIER.join(' ')} -- sh -c 'echo a; echo b') >> "$2"; echo c >> "$2"\n`,
    );
    expect(words).toContain('container');
    execFileSync('sh', [path.join(box.base, 'both.sh'), path.resolve('dist/bin/glovebox.js'), out], {
      cwd: box.workspace,
      env: box.env(),
    });
    expect(readFileSync(out, 'utf8')).toBe('a\nb\nc\n');
  });

  it('gives a terminal of its own', async () => {
    using box = new AttackBox('container');
    const seen = await onTerminal(box, `print(os.isatty(0), os.isatty(1), os.ttyname(0))`);
    expect(seen.screen).toContain('True True /dev/pts/0');
    expect(seen.modesKept).toBe(true);
  });

  it('says which limit ended it, and leaves nothing', async () => {
    using box = new TestBox();
    const result = await box.sh('head -c 300M /dev/zero > /tmp/fill', {
      flags: [...TIER, '--memory', '128MiB'],
    });
    expect(result.code).toBe(137);
    expect(result.stderr).toContain('its limit: memory');
    const kinds = box.records().map((record) => record.kind);
    expect(kinds).toEqual(expect.arrayContaining(['limit.hit', 'run.end']));
    await expectNothingLeft(box);
  });

  // With a control group the host's kernel ends one process, which has to be the guest kernel: for another one it would wait.
  it.each([
    ['python', ['/usr/bin/python3', '-c', 'x = []\nwhile True: x += b"x" * (1 << 20)']],
    ['node', [process.execPath, '-e', 'const a = []; for (;;) a.push(Buffer.alloc(1 << 22, 1))']],
    ['bash', ['bash', '-c', 'x=$(printf "%65536s"); while :; do x="$x$x"; done']],
    [
      'many',
      ['bash', '-c', 'for i in 1 2 3 4; do (x=$(printf "%65536s"); while :; do x+="$x"; done) & done; wait'],
    ],
    ['what pipes hold', ['/usr/bin/python3', '-c', PIPES]],
    ['a file in memory', ['bash', '-c', 'cat /dev/zero > /dev/shm/a & cat /dev/zero > /tmp/b; wait']],
  ])('ends an SDK sandbox that takes too much memory, and says why: %s', async (_, argv) => {
    using box = new TestBox();
    await using sandbox = await create(box, { limits: { memory: '160MiB' } });
    expect((await sandbox.getMetrics()).memUsed ?? 0).toBeGreaterThan(0);
    const hog = sandbox.commands.run(argv);
    const error: unknown = await hog.catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'E_LIMIT_EXCEEDED', context: { limits: ['memory'] } });
    const { cause, usage } = await sandbox.kill();
    expect({ cause, hit: usage.hit }).toEqual({ cause: 'limit', hit: ['memory'] });
    expect(usage.peakMemoryBytes).toBeGreaterThanOrEqual(150 << 20);
    expect(usage.peakMemoryBytes, 'ended long before there is twice as much').toBeLessThan(320 << 20);
    expect(box.records().find(({ kind }) => kind === 'limit.hit')?.data).toMatchObject({ limit: 'memory' });
    await expectNothingLeft(box);
  });

  it('refuses to start without a runsc that works', async () => {
    using box = new TestBox();
    for (const runsc of ['/nonexistent/runsc', '/usr/bin/true']) {
      const result = await box.run(['true'], { flags: TIER, env: { GLOVEBOX_RUNSC: runsc } });
      expect(result.code).toBe(125);
      expect(result.stderr).toContain('E_TIER_UNAVAILABLE');
    }
    expect(box.records().filter((record) => record.kind === 'run.refused').length).toBe(2);
  });
});

container('a sandbox in the container tier', () => {
  it('serves commands, one after another and at once', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    expect(sandbox.plan.tier).toBe('container');
    expect((await sandbox.commands.run('echo one')).stdout).toBe('one\n');
    const all = await Promise.all([1, 2, 3, 4].map((n) => sandbox.commands.run(`echo ${n}`)));
    expect(all.map((result) => result.stdout)).toEqual(['1\n', '2\n', '3\n', '4\n']);
    expect((await sandbox.commands.run('cat', { stdin: 'x'.repeat(300_000) })).stdout.length).toBe(300_000);
    const slow = sandbox.commands.start(
      // A signal at the moment of the fork may miss what was forked, which must not hold the output then.
      'trap "echo term; exit 3" TERM; sleep 60 > /dev/null 2>&1 & echo up; wait',
    );
    for await (const event of slow) if (Buffer.from(event.data).toString() === 'up\n') slow.kill('SIGTERM');
    expect((await slow.wait()).exitCode).toBe(3);
  });

  it('stands still and goes on', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const command = sandbox.commands.start('for i in $(seq 100); do echo $i >> count; sleep 0.05; done');
    await until(() => box.listing().includes('count') && box.read('count').length > 0, 'the first line');
    await sandbox.pause();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const held = box.read('count');
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(box.read('count')).toBe(held);
    await sandbox.resume();
    await until(() => box.read('count') !== held, 'the next line');
    command.kill();
    await command.wait();
  });

  it('has memory barriers, though its runtime may not register for them', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const query = 'import ctypes; call = ctypes.CDLL(None).syscall';
    const number = process.arch === 'arm64' ? 283 : 324;
    // linux/membarrier.h: query, register for private expedited barriers, use one.
    const python = `${query}; print(call(${number}, 0, 0, 0) & 24, call(${number}, 16, 0, 0), call(${number}, 8, 0, 0))`;
    const { stdout } = await sandbox.commands.run(['/usr/bin/python3', '-c', python]);
    expect(stdout).toBe('24 0 0\n');
  });

  it('is dialled, and reaches what its policy allows', async () => {
    using box = new TestBox();
    const server = createServer((_, response) => response.end('served'));
    const port = await new Promise<number>((resolve) =>
      server.listen(0, '127.0.0.1', () => {
        const address = server.address();
        resolve(typeof address === 'object' && address !== null ? address.port : 0);
      }),
    );
    box.policy(hostLoopbackPolicy(port, 'http'));
    await using sandbox = await create(box);
    const fetched = await sandbox.commands.run(`curl -sS --noproxy '*' http://host-loopback:${port}/`);
    expect(fetched.stdout).toBe('served');
    sandbox.commands.start('python3 -m http.server 8000 --bind 127.0.0.1');
    const line = await untilDialled(sandbox, 8000);
    expect(line).toContain('200 OK');
    await new Promise((resolve) => server.close(resolve));
  });

  it('tells of a kernel that ends by itself', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const running = sandbox.commands.start('sleep 60').wait();
    process.kill(kernelOf(sandbox.id, box), 'SIGKILL');
    const error: unknown = await running.catch((reason: unknown) => reason);
    expect(isGloveboxError(error) && error.code).toBe('E_SANDBOX_CRASHED');
    await sandbox.kill();
    await expectNothingLeft(box);
  });
});

async function untilDialled(sandbox: Sandbox, port: number): Promise<string> {
  for (;;) {
    try {
      const connection = await sandbox.dial(port);
      connection.write('GET / HTTP/1.0\r\n\r\n');
      let text = '';
      for await (const chunk of connection) text += String(chunk);
      return text;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The process that is the guest's kernel, found by the environment of its launcher's children: a jail of this test process. */
function kernelOf(id: string, box: TestBox): number {
  expect(id).not.toBe('');
  const mine = readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && isKernel(name) && below(name, process.pid),
  );
  expect(mine.length, box.base).toBe(1);
  return Number(mine[0]);
}

function isKernel(pid: string): boolean {
  return read(`/proc/${pid}/cmdline`).startsWith('runsc-sandbox\0');
}

function below(pid: string, ancestor: number): boolean {
  for (
    let at = Number(pid);
    at > 1;
    at = Number(/^PPid:\s+(\d+)$/m.exec(read(`/proc/${at}/status`))?.[1] ?? 0)
  )
    if (at === ancestor) return true;
  return false;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
