import { createServer } from 'node:net';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  CommandExitError,
  isGloveboxError,
  Sandbox,
  type NetworkEvent,
  type SandboxOptions,
} from '../../src/index.ts';
import { PYTHON, until } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { cgroupsOf, expectNothingLeft, processesOf, sandboxIds } from '../support/tree.ts';

function create(box: TestBox, options: SandboxOptions = {}): Promise<Sandbox> {
  return Sandbox.create({ workspace: box.workspace, hostEnv: box.env(), ...options });
}

/** The code that a promise is refused with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return isGloveboxError(error) ? error.code : String(error);
}

describe('commands', () => {
  it('run takes a shell line or a list, exec answers whatever the code', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const line = await sandbox.commands.run('echo out; echo err >&2');
    expect(line).toMatchObject({
      exitCode: 0,
      stdout: 'out\n',
      stderr: 'err\n',
      timedOut: false,
      truncated: false,
    });
    expect(line.durationMs).toBeGreaterThan(0);
    expect(line.usage.maxRssKib).toBeGreaterThan(0);
    expect((await sandbox.commands.run(['printf', '%s', '$HOME'])).stdout).toBe('$HOME');
    expect(await sandbox.commands.exec(['bash', '-c', 'exit 9'])).toMatchObject({ exitCode: 9 });
    expect(await sandbox.commands.exec(['bash', '-c', 'kill -KILL $$'])).toMatchObject({
      exitCode: 137,
      signal: 'SIGKILL',
    });
  });

  it('run throws with everything that is known', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const error = await sandbox.commands
      .run('echo some; echo "it broke" >&2; exit 4')
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CommandExitError);
    if (!(error instanceof CommandExitError)) return;
    expect(error).toMatchObject({ code: 'E_COMMAND_FAILED', why: 'it broke', context: { exitCode: 4 } });
    expect(error.result).toMatchObject({ exitCode: 4, stdout: 'some\n', stderr: 'it broke\n' });
  });

  it('says which programs are missing or no programs', async () => {
    using box = new TestBox();
    box.write('data', 'x');
    await using sandbox = await create(box);
    expect(await codeOf(sandbox.commands.exec(['no-such-program']))).toBe('E_COMMAND_NOT_FOUND');
    expect(await codeOf(sandbox.commands.exec(['./data']))).toBe('E_COMMAND_NOT_EXECUTABLE');
    expect(await codeOf(sandbox.commands.start(['no-such-program']).pid)).toBe('E_COMMAND_NOT_FOUND');
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
  });

  it('keeps state of the sandbox between commands, and none of a shell', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    await sandbox.commands.run('cd /tmp; export LEAK=1; echo kept > /tmp/file');
    expect((await sandbox.commands.run('cat /tmp/file; pwd; echo "[$LEAK]"')).stdout).toBe(
      `kept\n${box.workspace}\n[]\n`,
    );
  });

  it('takes environment and directory of the sandbox and of the command', async () => {
    using box = new TestBox();
    mkdirSync(path.join(box.workspace, 'sub'));
    await using sandbox = await create(box, { envs: { ONE: '1', TWO: '2' } });
    const result = await sandbox.commands.run('echo $ONE $TWO $HOST_ONLY; pwd', {
      envs: { TWO: 'two' },
      cwd: `${box.workspace}/sub`,
    });
    expect(result.stdout).toBe(`1 two\n${box.workspace}/sub\n`);
  });

  it('100 at once, each with its own output', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const all = Array.from({ length: 100 }, (_, i) =>
      sandbox.commands.run(['bash', '-c', `read -r line; echo "${i} $line"`], { stdin: `line of ${i}\n` }),
    );
    const results = await Promise.all(all);
    expect(results.map((result) => result.stdout)).toEqual(results.map((_, i) => `${i} line of ${i}\n`));
  });

  it('300 one after another leave nothing behind in the sandbox', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    for (let i = 0; i < 300; i++) await sandbox.commands.exec(['true']);
    const count = await sandbox.commands.run('ls -d /proc/[0-9]* | wc -l');
    expect(Number(count.stdout)).toBeLessThan(8);
  });
});

describe('output', () => {
  it('comes by callback, decoded across chunks', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const pieces: string[] = [];
    const script = `import sys, time
for byte in 'grüße 👋'.encode(): sys.stdout.buffer.write(bytes([byte])); sys.stdout.flush(); time.sleep(0.005)`;
    const errors: string[] = [];
    await sandbox.commands.run([PYTHON, '-c', `${script}\nprint('e', file=sys.stderr)`], {
      onStdout: (text) => pieces.push(text),
      onStderr: (text) => errors.push(text),
    });
    expect(pieces.join('')).toBe('grüße 👋');
    expect(pieces.length).toBeGreaterThan(1);
    expect(errors.join('')).toBe('e\n');
  });

  it('comes by iteration, in order, while the command runs', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const command = sandbox.commands.start('echo one; read -r x; echo "two $x"; echo three >&2', {
      stdin: true,
    });
    const seen: string[] = [];
    for await (const event of command) {
      seen.push(`${event.stream}:${Buffer.from(event.data).toString()}`);
      if (seen.length === 1) command.stdin.write('answer\n');
    }
    expect(seen.filter((event) => event.startsWith('stdout')).join('')).toBe(
      'stdout:one\nstdout:two answer\n',
    );
    expect(seen).toContain('stderr:three\n');
    expect((await command.wait()).stdout).toBe('one\ntwo answer\n');
  });

  it('makes the command wait while nobody reads the iteration', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const command = sandbox.commands.start(
      [
        PYTHON,
        '-c',
        "import os\nfor i in range(400):\n    os.write(1, b'x' * 65536)\n    with open('sent', 'w') as f: f.write(str(i + 1))",
      ],
      { maxOutputBytes: 1024 },
    );
    const events = command[Symbol.asyncIterator]();
    await events.next();
    // It gets as far as the windows and the pipe allow, and then stands still.
    let last = -1;
    await until(() => {
      const sent = Number(box.listing().includes('sent') ? box.read('sent') : 0);
      const still = sent > 0 && sent === last;
      last = sent;
      return still;
    }, 'the command to stand still');
    expect(last).toBeLessThan(100);
    let bytes = 65_536;
    for (let event = await events.next(); event.done !== true; event = await events.next())
      bytes += event.value.data.length;
    expect(bytes).toBeGreaterThanOrEqual(400 * 65_536);
    expect(await command.wait()).toMatchObject({ exitCode: 0, truncated: true });
  });

  it('ends the wait of the command when the iteration is left', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const command = sandbox.commands.start('seq 1 200000');
    for await (const event of command) {
      expect(event.stream).toBe('stdout');
      break;
    }
    const result = await command.wait();
    expect(result.exitCode).toBe(0);
    expect(result.stdout.endsWith('\n200000\n')).toBe(true);
  });

  it('is cut at maxOutputBytes and says so', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const result = await sandbox.commands.exec(['seq', '1', '100000'], { maxOutputBytes: 10 });
    expect(result).toMatchObject({ exitCode: 0, stdout: '1\n2\n3\n4\n5\n', truncated: true });
    expect(await sandbox.commands.exec(['printf', '12345'], { maxOutputBytes: 5 })).toMatchObject({
      stdout: '12345',
      truncated: false,
    });
  });

  it('that is not UTF-8 arrives whole as bytes and readable as text', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const command = sandbox.commands.start(['printf', 'a\\377\\376b']);
    const bytes: number[] = [];
    for await (const event of command) bytes.push(...event.data);
    expect(bytes).toEqual([0x61, 0xff, 0xfe, 0x62]);
    expect((await command.wait()).stdout).toBe('a\uFFFD\uFFFDb');
  });

  it('of 64 MB goes through whole', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    let bytes = 0;
    const result = await sandbox.commands.exec(['head', '-c', '64000000', '/dev/zero'], {
      onStdout: (text) => (bytes += text.length),
      maxOutputBytes: 1,
    });
    expect(result.exitCode).toBe(0);
    expect(bytes).toBe(64_000_000);
  });
});

describe('input', () => {
  it.each([
    ['absent', undefined, ''],
    ['text', 'grüße\n', 'grüße\n'],
    ['empty text', '', ''],
    ['bytes', Uint8Array.of(0x68, 0x69, 0x0a), 'hi\n'],
  ])('%s', async (_what, stdin, stdout) => {
    using box = new TestBox();
    await using sandbox = await create(box);
    expect((await sandbox.commands.run('cat', stdin === undefined ? {} : { stdin })).stdout).toBe(stdout);
  });

  it('is written as it is needed with a pipe', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const command = sandbox.commands.start('cat', { stdin: true });
    command.stdin.write('a');
    command.stdin.end('b');
    expect((await command.wait()).stdout).toBe('ab');
  });

  it('of 10 MB goes through cat', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const result = await sandbox.commands.run(['md5sum'], { stdin: Buffer.alloc(10_000_000) });
    expect(result.stdout.split(' ')[0]).toBe('311175294563b07db7ea80dee2e5b3c6');
  });

  it('that the command does not read is no error', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    expect(await sandbox.commands.run('exit 0', { stdin: Buffer.alloc(5_000_000) })).toMatchObject({
      exitCode: 0,
    });
  });
});

describe('ends', () => {
  it('of a command by its timeout, also when it ignores TERM', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const result = await sandbox.commands.exec(
      ['bash', '-c', "trap '' TERM; echo up; while :; do sleep 1; done"],
      { timeoutMs: 300 },
    );
    expect(result).toMatchObject({ timedOut: true, signal: 'SIGKILL', stdout: 'up\n' });
    expect(await codeOf(sandbox.commands.run('sleep 60', { timeoutMs: 100 }))).toBe('E_TIMEOUT');
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
  });

  it('of a command by kill, with its whole process group', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const command = sandbox.commands.start('sleep 300 & sleep 300');
    expect(await command.pid).toBeGreaterThan(1);
    command.kill('SIGTERM');
    expect(await command.wait()).toMatchObject({ signal: 'SIGTERM', exitCode: 143 });
    const left = await sandbox.commands.exec(['bash', '-c', 'grep -l sleep /proc/[0-9]*/comm | wc -l']);
    expect(left.stdout).toBe('0\n');
  });

  it('of a command by an abort signal, before and while it runs', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const controller = new AbortController();
    const running = sandbox.commands.exec(['bash', '-c', 'echo up; sleep 300'], {
      signal: controller.signal,
      onStdout: () => controller.abort(new Error('enough')),
    });
    expect(await codeOf(running)).toBe('E_ABORTED');
    expect(await codeOf(sandbox.commands.exec(['sleep', '300'], { signal: AbortSignal.abort() }))).toBe(
      'E_ABORTED',
    );
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
  });

  it('of a command by leaving its block', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    let wait: Promise<unknown> | undefined;
    {
      await using command = sandbox.commands.start('sleep 300');
      await command.pid;
      wait = command.wait();
    }
    expect(await wait).toMatchObject({ signal: 'SIGKILL' });
  });

  it('of the sandbox by kill: waiting commands are told, later ones refused, one report', async () => {
    using box = new TestBox();
    const sandbox = await create(box);
    const waiting = sandbox.commands.exec(['sleep', '300']);
    await sandbox.commands.run('true');
    const refused = codeOf(waiting);
    const report = await sandbox.kill();
    expect(report.cause).toBe('killed');
    expect(await sandbox.kill()).toBe(report);
    expect(await refused).toMatch(/^E_SANDBOX_(LOST|CLOSED)$/);
    expect(() => sandbox.commands.start('true')).toThrow(
      expect.objectContaining({ code: 'E_SANDBOX_CLOSED' }),
    );
    expect(await codeOf(sandbox.commands.run('true'))).toBe('E_SANDBOX_CLOSED');
    expect(await codeOf(sandbox.dial(80))).toBe('E_SANDBOX_CLOSED');
    await expectNothingLeft(box);
  });

  it('of the sandbox make every later call a rejection, as the types promise', async () => {
    using box = new TestBox();
    const sandbox = await create(box);
    await sandbox.kill();
    let promise: Promise<unknown> = Promise.resolve();
    expect(() => (promise = sandbox.commands.exec(['true']))).not.toThrow();
    expect(await codeOf(promise)).toBe('E_SANDBOX_CLOSED');
  });

  it('of the sandbox by its time to live', async () => {
    using box = new TestBox();
    const sandbox = await create(box, { timeoutMs: 700 });
    expect(await codeOf(sandbox.commands.exec(['sleep', '300']))).toMatch(/^E_SANDBOX_/);
    expect((await sandbox.kill()).cause).toBe('ttl');
    expect(box.records().find((record) => record.kind === 'run.end')?.data).toMatchObject({ cause: 'ttl' });
    await expectNothingLeft(box);
  });

  it('of the sandbox by an abort signal, before, during and after its start', async () => {
    using box = new TestBox();
    expect(await codeOf(create(box, { signal: AbortSignal.abort() }))).toBe('E_ABORTED');
    const during = new AbortController();
    const starting = create(box, { signal: during.signal });
    during.abort();
    expect(await codeOf(starting)).toBe('E_ABORTED');
    const after = new AbortController();
    const sandbox = await create(box, { signal: after.signal });
    const waiting = codeOf(sandbox.commands.exec(['sleep', '300']));
    after.abort();
    expect(await waiting).toMatch(/^E_SANDBOX_/);
    expect((await sandbox.kill()).cause).toBe('killed');
    await expectNothingLeft(box);
  });

  it('of the sandbox from inside is noticed', async () => {
    using box = new TestBox();
    const sandbox = await create(box);
    const jail = processesOf(box).find((line) => line.includes('bwrap'));
    expect(jail).toBeDefined();
    process.kill(Number(jail?.split(' ')[0]), 'SIGKILL');
    await sandbox.closed;
    expect((await sandbox.kill()).cause).toBe('lost');
    await expectNothingLeft(box);
  });

  it('of a block leaves nothing: no process, cgroup, placeholder or run entry', async () => {
    using box = new TestBox();
    {
      await using sandbox = await create(box);
      sandbox.commands.start('setsid sleep 300 & disown; sleep 300');
      await sandbox.commands.run('true');
      expect(box.listing()).not.toEqual([]);
    }
    expect(box.listing()).toEqual([]);
    expect(cgroupsOf(sandboxIds(box))).toEqual([]);
    await expectNothingLeft(box);
    const kinds = box.records().map((record) => record.kind);
    expect(kinds.filter((kind) => kind === 'run.end')).toHaveLength(1);
    expect((await box.cli(['audit', 'verify'])).code).toBe(0);
  });
});

describe('creation', () => {
  it.each([
    ['a workspace that is not there', { workspace: '/no/such/place' }, 'E_WORKSPACE_INVALID'],
    ['the root as workspace', { workspace: '/' }, 'E_WORKSPACE_INVALID'],
    ['an unknown profile', { profile: 'nod' }, 'E_PROFILE_UNKNOWN'],
    ['a host that is none', { allow: ['http://x'] }, 'E_POLICY_INVALID'],
    ['a limit that is none', { limits: { memory: 'lots' } }, 'E_POLICY_INVALID'],
    ['a port that is none', { publish: ['abc'] }, 'E_USAGE'],
  ] as const)('refuses %s and leaves nothing', async (_what, options, code) => {
    using box = new TestBox();
    expect(await codeOf(create(box, options))).toBe(code);
    expect(box.listing()).toEqual([]);
    await expectNothingLeft(box);
  });

  it('takes relative paths from the workspace, whatever the current directory of the process', async () => {
    using box = new TestBox();
    box.write('secret.pem', 'x');
    await using sandbox = await create(box, { deny: ['secret.pem'] });
    expect((await sandbox.commands.exec(['cat', 'secret.pem'])).stdout).toBe('');
  });

  it('honours limits, profile and lists', async () => {
    using box = new TestBox();
    const secret = box.write('secret', 'x');
    const other = path.join(box.base, 'other');
    mkdirSync(other);
    await using sandbox = await create(box, {
      profile: 'node',
      limits: { files: '64' },
      deny: [secret],
      read: [other],
    });
    expect((await sandbox.commands.exec(['ls', other])).exitCode).toBe(0);
    expect((await sandbox.commands.run('ulimit -n')).stdout).toBe('64\n');
    expect((await sandbox.commands.exec(['cat', 'secret'])).exitCode).toBe(1);
    expect(sandbox.plan.network.policy.allow.map((rule) => rule.host)).toEqual(['registry.npmjs.org']);
    expect(Object.isFrozen(sandbox.plan)).toBe(true);
  });
});

describe('network', () => {
  it('tells every verdict as it is made', async () => {
    using box = new TestBox();
    const events: NetworkEvent[] = [];
    await using sandbox = await create(box, { onNetwork: (event) => events.push(event) });
    await sandbox.commands.exec(['getent', 'hosts', 'nothing.example']);
    expect(events).toMatchObject([{ action: 'deny', entry: 'dns', host: 'nothing.example' }]);
    await sandbox.kill();
    const verdict = box.records().find((record) => record.kind === 'network.verdict');
    expect(verdict?.data).toMatchObject({
      action: 'deny',
      entry: 'dns',
      host: 'nothing.example',
      rule: 'default.deny',
    });
  });

  it('survives a listener that throws', async () => {
    using box = new TestBox();
    await using sandbox = await create(box, {
      onNetwork: () => {
        throw new Error('a defect of the caller');
      },
    });
    await sandbox.commands.exec(['getent', 'hosts', 'nothing.example']);
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
  });

  const SERVER = `
import socket
server = socket.create_server(('127.0.0.1', 8080)); print('up', flush=True)
while True:
    peer, _ = server.accept()
    data = peer.recv(100); peer.sendall(b'echo ' + data); peer.close()`;

  it('dials a port inside, and says when nothing listens', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const server = sandbox.commands.start([PYTHON, '-c', SERVER]);
    await server[Symbol.asyncIterator]().next();
    const stream = await sandbox.dial(8080);
    stream.end('hello');
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe('echo hello');
    expect(await codeOf(sandbox.dial(8081))).toBe('E_IO');
  });

  it('publishes a port, and refuses one that is taken', async () => {
    using box = new TestBox();
    await using sandbox = await create(box, { publish: ['0:8080'] });
    const [port] = sandbox.ports;
    expect(port).toMatchObject({ sandboxPort: 8080 });
    expect(port?.hostPort).toBeGreaterThan(1023);
    await using taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    const address = taken.address();
    const used = typeof address === 'object' && address !== null ? address.port : 0;
    expect(await codeOf(create(box, { publish: [`${used}:8080`] }))).toBe('E_PORT_TAKEN');
  });
});

describe('the policy option', () => {
  it('takes a policy as an object, and as a file', async () => {
    using box = new TestBox();
    box.write('.secret', 'canary\n');
    const policy = { version: 1, filesystem: { deny: ['.secret'] }, limits: { pids: 99 } };
    const file = box.write('../policy.json', JSON.stringify(policy));
    for (const option of [policy, file]) {
      await using sandbox = await create(box, { policy: option });
      const result = await sandbox.commands.exec(['cat', `${box.workspace}/.secret`]);
      expect([result.exitCode, result.stdout]).toEqual([1, '']);
      expect(sandbox.plan.limits.pids).toBe(99);
    }
  });

  it('refuses an object with a misspelt key, and names the nearest', async () => {
    using box = new TestBox();
    const failed = create(box, { policy: { version: 1, limts: { pids: 9 } } });
    await expect(failed).rejects.toMatchObject({
      code: 'E_POLICY_INVALID',
      message: expect.stringContaining('limits'),
    });
  });
});
