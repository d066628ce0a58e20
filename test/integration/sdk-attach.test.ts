import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Sandbox, type SandboxInfo, type SandboxQuery } from '../../src/index.ts';
import { TestBox } from '../support/box.ts';
import {
  codeOf,
  create,
  eventually,
  expectAllGone,
  forEachOwnTier,
  Script,
  socketOf,
} from '../support/sdk.ts';
import { hostProgram, isRoot } from '../support/users.ts';

async function listed(box: TestBox, query: SandboxQuery = {}): Promise<readonly SandboxInfo[]> {
  const found: SandboxInfo[] = [];
  for await (const info of Sandbox.list({ ...query, hostEnv: box.env() })) found.push(info);
  return found;
}

describe('another handle', () => {
  forEachOwnTier('of the same process runs commands, works on files and dials', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier, metadata: { job: '7' } });
    const other = await Sandbox.connect(sandbox.id, { hostEnv: box.env() });
    expect(other.id).toBe(sandbox.id);
    expect((await other.commands.run('echo "$(pwd)"')).stdout).toBe(`${box.workspace}\n`);
    await other.files.write('from-other', 'text');
    expect(await sandbox.files.read('from-other')).toBe('text');
    expect(await other.getInfo()).toEqual(await sandbox.getInfo());
    expect(await other.isRunning()).toBe(true);
    expect((await other.getMetrics()).memTotal).toBeGreaterThan(0);
    expect(await codeOf(other.dial(9))).toBe('E_IO');
    const sleeper = await other.commands.run('exec sleep 300', { background: true });
    const running = async (): Promise<unknown> => (await other.processes()).map(({ argv }) => argv);
    await eventually(running).toContainEqual(['sleep', '300']);
    await sleeper.kill();
    expect((await other.runCode('print(6 * 7)')).logs.stdout.join('')).toBe('42\n');
    const argvs = box.records().flatMap(({ kind, data }) => (kind === 'run.command' ? [data['argv']] : []));
    expect(argvs).toContainEqual(['/bin/bash', '-c', 'echo "$(pwd)"']);
    await sandbox.files.remove('from-other');
  });

  forEachOwnTier('of another process uses it, and leaves it alive when it goes', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    using script = new Script(
      box,
      tier,
      `const box = await Sandbox.connect(${JSON.stringify(sandbox.id)});
       say((await box.commands.run('echo from outside')).stdout);
       say((await box.commands.run(['md5sum'], { stdin: Buffer.alloc(3_000_000) })).stdout);
       const left = await box.commands.run('echo up; sleep 300', { background: true, onStdout: () => process.kill(process.pid, 'SIGKILL') });
       await left.wait();`,
    );
    expect(await script.next()).toBe('from outside\n');
    expect(await script.next()).toBe(`${md5OfZeros}  -\n`);
    await script.ended;
    // What it had started goes with it; the sandbox does not.
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
    await eventually(
      async () => (await sandbox.processes()).filter(({ name }) => name === 'sleep').length,
    ).toBe(0);
  });

  forEachOwnTier(
    'of another process finds, reads, feeds and ends what the owner has in the background',
    async (tier) => {
      using box = new TestBox();
      await using sandbox = await create(box, { tier });
      const job = await sandbox.commands.run(
        'echo one; read line; echo "got $line" >&2; head -c 500000 /dev/zero; exit 3',
        { background: true, stdin: true, tag: 'job', envs: { A: 'b' } },
      );
      await eventually(async () => job.stdout).toBe('one\n');
      const sleeper = await sandbox.commands.run('echo up; exec sleep 300', { background: true });
      let screen = '';
      const shell = await sandbox.pty.create({
        cols: 80,
        rows: 24,
        command: ['/bin/sh'],
        onData: (data) => (screen += Buffer.from(data).toString()),
      });
      using script = new Script(
        box,
        tier,
        `const box = await Sandbox.connect(${JSON.stringify(sandbox.id)});
       const codeOf = (promise) => promise.then(() => 'fine', (error) => error.code);
       const list = await box.commands.list();
       say(list.map(({ pid, tag, envs, cwd }) => [pid, tag ?? null, envs, cwd]));
       const [job, sleeper, shell] = ${JSON.stringify([job.pid, sleeper.pid, shell.pid])};
       const handle = await box.commands.connect(job, { cursor: { stdout: 1 } });
       await handle.sendStdin('grüße\\n');
       const error = await handle.wait().catch((reason) => reason);
       say([error.code, error.result.exitCode, error.result.stdout.slice(0, 3), error.result.stdout.length, error.result.stderr]);
       say(handle.cursor);
       say(await codeOf((await box.commands.connect(sleeper, { cursor: { stdout: 9 } })).wait()));
       const left = await box.commands.connect(sleeper);
       await left.disconnect();
       say([await codeOf(left.wait()), await box.commands.kill(job), await box.commands.kill(sleeper), await codeOf(box.commands.connect(job)), await codeOf(box.pty.connect(sleeper))]);
       const terminal = await box.pty.connect(shell);
       await box.pty.resize(shell, { cols: 100, rows: 30 });
       await box.pty.sendInput(shell, 'stty size; exit 4\\n');
       say((await terminal.wait().catch((reason) => reason.result)).exitCode);
       box.disconnect();`,
      );
      expect(await script.next()).toEqual([
        [job.pid, 'job', { A: 'b' }, box.workspace],
        [sleeper.pid, null, {}, box.workspace],
      ]);
      expect(await script.next()).toEqual(['E_COMMAND_FAILED', 3, 'ne\n', 500_003, 'got grüße\n']);
      expect(await script.next()).toEqual({ stdout: 500_004, stderr: 12 });
      expect(await script.next()).toBe('E_USAGE');
      expect(await script.next()).toEqual(['E_ABORTED', false, true, 'E_USAGE', 'E_USAGE']);
      expect(await script.next()).toBe(4);
      expect((await script.ended).code).toBe(0);
      expect(await codeOf(job.wait())).toBe('E_COMMAND_FAILED');
      expect(await codeOf(sleeper.wait())).toBe('E_COMMAND_FAILED');
      await shell.wait().catch(() => undefined);
      expect(screen).toContain('30 100');
      expect(await sandbox.commands.list()).toEqual([]);
    },
  );

  forEachOwnTier('of another process ends it, with the same report', async (tier) => {
    using box = new TestBox();
    const sandbox = await create(box, { tier });
    using script = new Script(
      box,
      tier,
      `const box = await Sandbox.connect(${JSON.stringify(sandbox.id)});
       const report = await box.kill();
       say([report.cause, report.receipt.complete, await box.isRunning()]);
       say(await box.commands.run('true').then(() => 'ran', (error) => error.code));`,
    );
    expect(await script.next()).toEqual(['killed', true, false]);
    expect(await script.next()).toBe('E_SANDBOX_CLOSED');
    expect((await sandbox.kill()).cause).toBe('killed');
    expect(await codeOf(sandbox.commands.run('true'))).toBe('E_SANDBOX_CLOSED');
    expect((await script.ended).code).toBe(0);
    await expectAllGone(box);
  });

  it('that is let go refuses later calls, and the sandbox lives on', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const other = await Sandbox.connect(sandbox.id, { hostEnv: box.env() });
    const waiting = codeOf(other.commands.run('sleep 300'));
    other.disconnect();
    expect(await waiting).toMatch(/^E_SANDBOX_(LOST|CLOSED)$/);
    expect(await codeOf(other.commands.run('true'))).toBe('E_SANDBOX_CLOSED');
    expect(await codeOf(other.files.read('x'))).toBe('E_SANDBOX_CLOSED');
    sandbox.disconnect();
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
  });

  it('cannot change the network or see the plan: those are the owner’s', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const other = await Sandbox.connect(sandbox.id, { hostEnv: box.env() });
    expect(await codeOf(other.network.update({ allow: ['example.com'] }))).toBe('E_UNSUPPORTED');
    expect(() => other.plan).toThrow(expect.objectContaining({ code: 'E_UNSUPPORTED' }));
    other.disconnect();
  });

  it('of a sandbox that is not there, or has ended', async () => {
    using box = new TestBox();
    const hostEnv = box.env();
    expect(await codeOf(Sandbox.connect('sbx_nothing', { hostEnv }))).toBe('E_SANDBOX_NOT_FOUND');
    const sandbox = await create(box);
    const other = await Sandbox.connect(sandbox.id, { hostEnv });
    await sandbox.kill();
    await other.closed;
    expect(await codeOf(other.commands.run('true'))).toMatch(/^E_SANDBOX_(LOST|CLOSED)$/);
    expect(await other.isRunning()).toBe(false);
    expect(await codeOf(Sandbox.connect(sandbox.id, { hostEnv }))).toBe('E_SANDBOX_NOT_FOUND');
  });
});

/** `head -c 3000000 /dev/zero | md5sum` */
const md5OfZeros = 'c9fc2d3dd83ab67a129ac10b09c9ebbb';

describe('list', () => {
  it('finds sandboxes of this and other processes by name, labels and state, oldest first', async () => {
    using box = new TestBox();
    await using first = await create(box, { name: 'first', metadata: { team: 'red', job: '1' } });
    using script = new Script(
      box,
      'process',
      `const box = await Sandbox.create({ ...options, name: 'second', metadata: { team: 'red', job: '2' } });
       say(box.id);
       process.stdin.once('end', () => box.kill()).resume();`,
    );
    const second = await script.next();
    const ids = async (query: SandboxQuery = {}): Promise<readonly string[]> =>
      (await listed(box, query)).map(({ sandboxId }) => sandboxId);
    expect(await ids()).toEqual([first.id, second]);
    expect(await ids({ metadata: { team: 'red' } })).toEqual([first.id, second]);
    expect(await ids({ metadata: { team: 'red', job: '2' } })).toEqual([second]);
    expect(await ids({ metadata: { team: 'blue' } })).toEqual([]);
    expect(await ids({ name: 'first' })).toEqual([first.id]);
    expect(await ids({ state: 'paused' })).toEqual([]);
    await first.pause();
    expect(await ids({ state: 'paused' })).toEqual([first.id]);
    await first.resume();
    expect((await listed(box, { name: 'second' }))[0]).toMatchObject({
      name: 'second',
      metadata: { team: 'red', job: '2' },
      tier: 'process',
      workspace: box.workspace,
      ownerPid: script.child.pid,
      state: 'running',
    });
    script.child.stdin?.end();
    expect((await script.ended).code).toBe(0);
    expect(await ids()).toEqual([first.id]);
  });

  it('is empty where there are none', async () => {
    using box = new TestBox();
    expect(await listed(box)).toEqual([]);
  });
});

describe('a name', () => {
  it('is of one living sandbox, and free again afterwards', async () => {
    using box = new TestBox();
    const first = await create(box, { name: 'mine' });
    expect(await codeOf(create(box, { name: 'mine' }))).toBe('E_NAME_TAKEN');
    await first.kill();
    await using again = await create(box, { name: 'mine' });
    expect((await again.getInfo()).name).toBe('mine');
  });

  it.each(['', '../x', 'a b', '-x', 'x'.repeat(64), 'ü'])('cannot be %j', async (name) => {
    using box = new TestBox();
    expect(await codeOf(create(box, { name }))).toBe('E_USAGE');
  });

  forEachOwnTier('that four processes ask for at once is made once', async (tier) => {
    using box = new TestBox();
    const source = `const box = await Sandbox.getOrCreate({ ...options, name: 'shared' });
      const { ownerPid } = await box.getInfo();
      say([box.id, ownerPid === process.pid, (await box.commands.run('echo ok')).stdout]);
      process.stdin.once('end', async () => { if (ownerPid === process.pid) await box.kill(); box.disconnect(); }).resume();`;
    const scripts = Array.from({ length: 4 }, () => new Script(box, tier, source));
    const said = (await Promise.all(scripts.map((script) => script.next()))) as [string, boolean, string][];
    expect(new Set(said.map(([id]) => id)).size).toBe(1);
    expect(said.filter(([, owner]) => owner)).toHaveLength(1);
    expect(said.map(([, , out]) => out)).toEqual(Array(4).fill('ok\n'));
    const guests = scripts.filter((_, i) => said[i]?.[1] === false);
    for (const guest of guests) guest.child.stdin?.end();
    for (const guest of guests) expect((await guest.ended).code).toBe(0);
    for (const script of scripts) script.child.stdin?.end();
    for (const script of scripts) expect((await script.ended).code).toBe(0);
    await expectAllGone(box);
  });
});

describe('a hostile client of the socket', () => {
  async function send(box: TestBox, id: string, data: string | Uint8Array): Promise<string> {
    const socket = connect(socketOf(box, id));
    await once(socket, 'connect');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.write(data);
    await new Promise((resolve) => socket.once('close', resolve));
    return Buffer.concat(chunks).toString('latin1');
  }

  const SESSION = '{"ask":"session"}\n';

  it.each([
    ['garbage', Buffer.from([0xff, 0, 10, 1, 2, 3])],
    ['no object', '17\n'],
    ['an unknown request', '{"ask":"format-disk"}\n'],
    ['a request of the wrong shape', '{"ask":"set-timeout","timeoutMs":"soon"}\n'],
    ['a line without end', 'x'.repeat(3 * 1024 * 1024)],
    ['a session of garbage', `${SESSION}${'\xff'.repeat(4096)}`],
    [
      'a session with a frame beyond every size',
      Buffer.concat([Buffer.from(SESSION), Buffer.alloc(64, 0xff)]),
    ],
  ])('is cut off for %s, and nobody else notices', async (_what, data) => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const busy = sandbox.commands.run('sleep 0.3; echo unharmed');
    const answer = await send(box, sandbox.id, data);
    expect(answer === '' || answer.startsWith('{"ok":')).toBe(true);
    expect((await busy).stdout).toBe('unharmed\n');
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
  });

  it('is cut off when it says nothing', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    expect(await send(box, sandbox.id, '')).toBe('');
    expect(await sandbox.isRunning()).toBe(true);
  });

  it.skipIf(!isRoot)('is not even reached when it is another user (as root)', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    for (const dir of [box.base, path.join(box.base, 'run')]) chmodSync(dir, 0o755);
    const source = `require('net').connect(${JSON.stringify(socketOf(box, sandbox.id))})
      .on('connect', () => console.log('reached')).on('error', (error) => console.log(error.code))`;
    const identity = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const { stdout } = await hostProgram(box, [...identity, process.execPath, '-e', source], { cwd: '/' });
    expect(stdout).toBe('EACCES\n');
  });

  it('gets a typed refusal for a time that is none', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const answer = await send(box, sandbox.id, '{"ask":"set-timeout","timeoutMs":-5}\n');
    expect(JSON.parse(answer)).toMatchObject({ ok: false, code: 'E_USAGE' });
  });
});
