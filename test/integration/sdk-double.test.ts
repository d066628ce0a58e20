import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CommandExitError, Sandbox, type SandboxOptions } from '../../src/index.ts';
import { MemoryHost, type CodeHandler, type CommandHandler, type SandboxHost } from '../../src/testing.ts';
import { PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { codeOf, eventually, forEachOwnTier } from '../support/sdk.ts';

/** What the cases run, as the double plays it. */
const COMMANDS: Readonly<Record<string, CommandHandler>> = {
  echo: (argv) => ({ stdout: `${argv.slice(1).join(' ')}\n` }),
  false: () => ({ exitCode: 1 }),
  pwd: (_argv, { cwd }) => ({ stdout: `${cwd}\n` }),
  printenv: ([, name = ''], { env }) => ({ stdout: `${env[name] ?? ''}\n` }),
  cat: async ([, file], { stdin, stdout, files, cwd }) => {
    if (file !== undefined) return { stdout: await files.readAll(`${cwd}/${file}`) };
    for await (const chunk of stdin) stdout.write(chunk);
    return {};
  },
  sleep: async ([, seconds = '0'], { signal }) => {
    await delay(Number(seconds) * 1000, undefined, { signal }).catch(() => undefined);
  },
  head: async (argv, { stdout }) => {
    for (let left = Number(argv[2]); left > 0; left -= 65_536) {
      const piece = Buffer.alloc(Math.min(left, 65_536));
      if (!stdout.write(piece)) await new Promise((resolve) => stdout.once('drain', resolve));
    }
  },
  stty: (_argv, { terminal }) => ({ stdout: `${terminal?.rows} ${terminal?.cols}\r\n` }),
  python3: (_argv, { listen, signal, stdout }) => {
    listen(8080, (peer) => peer.once('data', (data: Buffer) => peer.end(`echo ${data.toString()}`)));
    stdout.write('up\n');
    return new Promise((resolve) => signal.addEventListener('abort', () => resolve({})));
  },
};

/** Plays the few cells of the cases. */
const CODE: CodeHandler = async ({ code, state, stderr, signal }) => {
  const assign = /^(\w+) = (\d+)$/.exec(code);
  if (assign?.[1] !== undefined) return void state.set(assign[1], Number(assign[2]));
  if (code === 'boom') throw Object.assign(new Error("name 'boom' is not defined"), { name: 'NameError' });
  if (code.startsWith('while')) await delay(60_000, undefined, { signal });
  if (code.includes('stderr')) stderr('warned\n');
  const print = /^print\((\w+)\)$/.exec(code);
  if (print?.[1] !== undefined)
    return { stdout: `${state.has(print[1]) ? Number(state.get(print[1])) : print[1]}\n` };
  const product = /^(\w+) \* (\d+)$/.exec(code);
  return product === null
    ? {}
    : { result: { text: String(Number(state.get(product[1] ?? '')) * Number(product[2])) } };
};

const SERVER = `
import socket
server = socket.create_server(('127.0.0.1', 8080)); print('up', flush=True)
while True:
    peer, _ = server.accept()
    data = peer.recv(100); peer.sendall(b'echo ' + data); peer.close()`;

/** The real class, with the box's workspace. */
function realHost(box: TestBox, defaults: SandboxOptions): SandboxHost {
  const env = { hostEnv: box.env() };
  const all = { workspace: box.workspace, ...env, ...defaults };
  return {
    create: (options) => Sandbox.create({ ...all, ...options }),
    connect: (id) => Sandbox.connect(id, env),
    getOrCreate: (options) => Sandbox.getOrCreate({ ...all, ...options }),
    list: (query) => Sandbox.list({ ...query, ...env }),
  };
}

/** The same case with the double, and with a real sandbox of each tier: what the double does is what they do. */
function forBoth(name: string, attempt: (host: SandboxHost) => Promise<void>): void {
  it(`[memory] ${name}`, () => attempt(new MemoryHost({ commands: COMMANDS, code: CODE })));
  forEachOwnTier(name, async (tier) => {
    using box = new TestBox();
    await attempt(realHost(box, { tier }));
  });
}

async function readAll(stream: Duplex): Promise<string> {
  return text(stream);
}

describe('commands', () => {
  forBoth('of both forms, with directory, environment, input and exit code', async (host) => {
    await using box = await host.create({ envs: { A: 'of all' } });
    const { commands } = box;
    expect(await commands.run(['echo', 'a  b'])).toMatchObject({
      exitCode: 0,
      stdout: 'a  b\n',
      stderr: '',
      timedOut: false,
      truncated: false,
    });
    expect((await commands.run('echo hello world')).stdout).toBe('hello world\n');
    expect((await commands.run(['pwd'], { cwd: '/tmp' })).stdout).toBe('/tmp\n');
    expect((await commands.run(['printenv', 'A'])).stdout).toBe('of all\n');
    expect((await commands.run(['printenv', 'B'], { envs: { B: 'own' } })).stdout).toBe('own\n');
    expect((await commands.run(['cat'], { stdin: 'grüße' })).stdout).toBe('grüße');
    expect(await commands.exec(['false'])).toMatchObject({ exitCode: 1 });
    const error = await commands.run(['false']).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CommandExitError);
    expect(error).toMatchObject({ code: 'E_COMMAND_FAILED', result: { exitCode: 1 } });
  });

  forBoth('that do not exist', async (host) => {
    await using box = await host.create();
    expect(await codeOf(box.commands.exec(['no-such-program']))).toBe('E_COMMAND_NOT_FOUND');
    expect(await codeOf(box.commands.run(['no-such-program'], { background: true }))).toBe(
      'E_COMMAND_NOT_FOUND',
    );
    const shell = await box.commands.exec('no-such-program with words');
    expect(shell.exitCode).toBe(127);
    expect(shell.stderr).toContain('no-such-program: command not found');
  });

  forBoth(
    'that start in a directory inside, relative to the workspace, or say what is wrong with it',
    async (host) => {
      await using box = await host.create();
      await box.files.write('sub/file', 'x');
      expect((await box.commands.run(['pwd'], { cwd: 'sub' })).stdout).toMatch(/\/sub\n$/);
      const cases: readonly (readonly [string, string])[] = [
        ['/no/such', 'there is no directory /no/such in the sandbox'],
        ['gone', '/gone in the sandbox'],
        ['sub/file', 'it is not a directory'],
        ['a\0b', 'it holds a NUL byte'],
        [`/${'x/'.repeat(2500)}`, 'it has 5001 bytes, at most 4095'],
        [`/${'y'.repeat(300)}`, 'a name in it has 300 bytes, at most 255'],
      ];
      for (const [cwd, words] of cases) {
        const wrong = { code: 'E_CWD_INVALID', message: expect.stringContaining(words) };
        await expect(box.commands.exec(['pwd'], { cwd })).rejects.toMatchObject(wrong);
        await expect(box.commands.run(['pwd'], { cwd, background: true })).rejects.toMatchObject(wrong);
        await expect(
          box.pty.create({ cols: 80, rows: 24, command: ['stty', 'size'], cwd }),
        ).rejects.toMatchObject(wrong);
        await expect(
          box.createCodeContext({ cwd, language: 'bash' }).then((context) => box.runCode('pwd', { context })),
        ).rejects.toMatchObject(wrong);
      }
    },
  );

  forBoth('that are none, like content that is none, are refused by name', async (host) => {
    await using box = await host.create();
    const wrong: readonly (readonly [() => Promise<unknown>, string])[] = [
      // What a program without types passes.
      [() => box.commands.exec(JSON.parse('[1]')), 'a shell line or a list of strings'],
      [() => box.commands.exec(JSON.parse('{}')), 'a shell line or a list of strings'],
      [() => box.files.write('x', JSON.parse('7')), 'of type number'],
      [() => box.runCode('1', { language: JSON.parse('"ruby"') }), 'there is no language "ruby"'],
    ];
    for (const [attempt, words] of wrong)
      await expect(attempt()).rejects.toMatchObject({
        code: 'E_USAGE',
        message: expect.stringContaining(words),
      });
    await expect(box.files.read(JSON.parse('null'))).rejects.toMatchObject({ code: 'E_FILE_NAME' });
  });

  forBoth('that end by a signal, a timeout or an abort', async (host) => {
    await using box = await host.create();
    const command = box.commands.start(['sleep', '60']);
    expect(await command.pid).toBeGreaterThan(1);
    command.kill('SIGTERM');
    expect(await command.wait()).toMatchObject({ exitCode: 143, signal: 'SIGTERM' });
    expect(await box.commands.exec(['sleep', '60'], { timeoutMs: 50 })).toMatchObject({ timedOut: true });
    expect(await codeOf(box.commands.run(['sleep', '60'], { timeoutMs: 50 }))).toBe('E_TIMEOUT');
    const signal = AbortSignal.timeout(50);
    expect(await codeOf(box.commands.exec(['sleep', '60'], { signal }))).toBe('E_ABORTED');
  });

  forBoth('whose output is streamed, counted and cut', async (host) => {
    await using box = await host.create();
    const command = box.commands.start(['head', '-c', '3000000', '/dev/zero'], { maxOutputBytes: 1000 });
    let bytes = 0;
    for await (const { stream, data } of command) {
      expect(stream).toBe('stdout');
      bytes += data.length;
    }
    expect(bytes).toBe(3_000_000);
    const result = await command.wait();
    expect(result).toMatchObject({ truncated: true, exitCode: 0 });
    expect(result.stdout).toHaveLength(1000);
  });

  forBoth('in the background: listed, fed, read from a cursor, killed', async (host) => {
    await using box = await host.create();
    const { commands } = box;
    const handle = await commands.run(['cat'], { background: true, stdin: true, tag: 'echo' });
    expect(await commands.list()).toMatchObject([{ pid: handle.pid, cmd: 'cat', tag: 'echo' }]);
    await commands.sendStdin(handle.pid, 'one ');
    await eventually(() => handle.stdout).toBe('one ');
    await handle.disconnect();
    expect(await codeOf(handle.wait())).toBe('E_ABORTED');
    const again = await commands.connect(handle.pid, { cursor: handle.cursor });
    await again.sendStdin('two');
    await again.closeStdin();
    expect((await again.wait()).stdout).toBe('two');
    expect(await commands.list()).toEqual([]);
    expect(await codeOf(commands.connect(handle.pid))).toBe('E_USAGE');
    const nap = await commands.run(['sleep', '60'], { background: true });
    expect(await commands.kill(nap.pid)).toBe(true);
    expect(await codeOf(nap.wait())).toBe('E_COMMAND_FAILED');
    expect(await nap.kill()).toBe(false);
    expect(await commands.kill(nap.pid)).toBe(false);
  });

  forBoth('are processes, and ports that they listen on', async (host) => {
    await using box = await host.create();
    expect(await codeOf(box.dial(8080))).toBe('E_IO');
    expect(await codeOf(box.waitForPort(8080, { timeoutMs: 50 }))).toBe('E_TIMEOUT');
    const server = await box.commands.run([PYTHON, '-c', SERVER], { background: true });
    await box.waitForPort(8080);
    expect((await box.listeningPorts()).map(({ port }) => port)).toEqual([8080]);
    expect((await box.processes()).map(({ argv }) => argv[0])).toContain(PYTHON);
    const stream = await box.dial(8080);
    stream.write('hello');
    expect(await readAll(stream)).toBe('echo hello');
    await server.kill();
    await server.wait().catch(() => undefined);
    await eventually(() => box.listeningPorts()).toEqual([]);
  });

  forBoth('on a terminal', async (host) => {
    await using box = await host.create();
    let shown = '';
    const onData = (data: Uint8Array): void => void (shown += Buffer.from(data).toString());
    const handle = await box.pty.create({ cols: 91, rows: 17, command: ['stty', 'size'], onData });
    await handle.wait();
    expect(shown).toBe('17 91\r\n');
    expect(await codeOf(box.pty.resize(handle.pid, { cols: 1, rows: 1 }))).toBe('E_USAGE');
  });
});

describe('files', () => {
  forBoth('are written, read, listed, moved and removed', async (host) => {
    await using box = await host.create();
    const { files } = box;
    const written = await files.write('deep/er/file.txt', 'content');
    expect(written).toMatchObject({ name: 'file.txt', type: 'file', size: 7, owner: 'sandbox' });
    expect(await files.read('deep/er/file.txt')).toBe('content');
    expect(await files.read('deep/er/file.txt', { format: 'bytes' })).toEqual(
      new Uint8Array(Buffer.from('content')),
    );
    const bytes: Uint8Array[] = [];
    const stream = await files.read('deep/er/file.txt', { format: 'stream' });
    for await (const piece of stream as unknown as AsyncIterable<Uint8Array>) bytes.push(piece);
    expect(Buffer.concat(bytes).toString()).toBe('content');
    expect((await box.commands.run(['cat', 'deep/er/file.txt'])).stdout).toBe('content');
    await files.write([
      { path: 'deep/a', data: 'a' },
      { path: 'deep/b', data: new Uint8Array([98]) },
    ]);
    const { workspace } = await box.getInfo();
    const names = async (depth: number): Promise<readonly string[]> =>
      (await files.list('deep', { depth })).map(({ path }) => path.slice(workspace.length + 1));
    expect(await names(1)).toEqual(['deep/a', 'deep/b', 'deep/er']);
    expect(await names(9)).toEqual(['deep/a', 'deep/b', 'deep/er', 'deep/er/file.txt']);
    expect(await files.makeDir('deep/new/dir')).toBe(true);
    expect(await files.makeDir('deep/new/dir')).toBe(false);
    expect((await files.rename('deep/a', 'moved/a')).name).toBe('a');
    expect([await files.exists('deep/a'), await files.exists('moved/a')]).toEqual([false, true]);
    expect((await files.getInfo('deep')).type).toBe('dir');
    await files.write('moved/a', 'whole', { atomic: true, mode: 0o600 });
    expect(await files.getInfo('moved/a')).toMatchObject({ permissions: '-rw-------', size: 5 });
    await files.remove('deep');
    await files.remove('moved');
    expect(await files.exists('deep')).toBe(false);
  });

  forBoth('are refused with the same errors', async (host) => {
    await using box = await host.create();
    const { files } = box;
    await files.write('file', 'x');
    await files.makeDir('dir/sub');
    const signal = AbortSignal.abort();
    const refusals = {
      missing: files.read('nothing'),
      'a directory read': files.read('dir'),
      'a directory written': files.write('dir', 'x'),
      'a file listed': files.list('file'),
      'below a file': files.read('file/below'),
      'a directory below a file': files.makeDir('file/below'),
      'a directory in the place of a file': files.makeDir('file'),
      'a missing name moved': files.rename('nothing', 'other'),
      'a directory over a full one': files.rename('file', 'dir'),
      'a missing name removed': files.remove('nothing'),
      'too large': files.read('file', { maxBytes: 0 }),
      'a long name': files.write('n'.repeat(300), 'x'),
      'a depth that is none': files.list('dir', { depth: 0 }),
      'a missing directory watched': files.watchDir('nothing', () => undefined),
      aborted: files.read('file', { signal }),
    };
    const codes = Object.entries(refusals).map(
      async ([what, promise]) => [what, await codeOf(promise)] as const,
    );
    expect(Object.fromEntries(await Promise.all(codes))).toEqual({
      missing: 'E_FILE_NOT_FOUND',
      'a directory read': 'E_FILE_IS_DIRECTORY',
      'a directory written': 'E_FILE_IS_DIRECTORY',
      'a file listed': 'E_FILE_NOT_DIRECTORY',
      'below a file': 'E_FILE_NOT_DIRECTORY',
      'a directory below a file': 'E_FILE_NOT_DIRECTORY',
      'a directory in the place of a file': 'E_FILE_EXISTS',
      'a missing name moved': 'E_FILE_NOT_FOUND',
      'a directory over a full one': 'E_FILE_IS_DIRECTORY',
      'a missing name removed': 'E_FILE_NOT_FOUND',
      'too large': 'E_FILE_TOO_LARGE',
      'a long name': 'E_FILE_NAME',
      'a depth that is none': 'E_USAGE',
      'a missing directory watched': 'E_FILE_NOT_FOUND',
      aborted: 'E_ABORTED',
    });
    await files.remove('file');
    await files.remove('dir');
  });

  forBoth('are watched', async (host) => {
    await using box = await host.create();
    const { files } = box;
    await files.makeDir('watched');
    const seen: string[] = [];
    const watch = await files.watchDir('watched', ({ type, name }) => void seen.push(`${type} ${name}`));
    await files.write('watched/one', 'x');
    await files.rename('watched/one', 'watched/two');
    await files.remove('watched/two');
    await eventually(() => seen).toContain('remove two');
    expect(seen.filter((event) => !event.startsWith('write'))).toEqual([
      'create one',
      'rename one',
      'create two',
      'remove two',
    ]);
    await watch.stop();
    await files.remove('watched');
  });
});

describe('code', () => {
  forBoth('keeps its state in a context, and fails as an answer', async (host) => {
    await using box = await host.create();
    const pieces: string[] = [];
    expect((await box.runCode('a = 6')).error).toBeUndefined();
    expect(await box.runCode('a * 7')).toMatchObject({ text: '42', executionCount: 2, timedOut: false });
    await box.runCode('print(a)', { onStdout: (piece) => pieces.push(piece) });
    expect(pieces.join('')).toBe('6\n');
    const failed = await box.runCode('boom');
    expect(failed.error).toMatchObject({ name: 'NameError', value: "name 'boom' is not defined" });
    const context = await box.createCodeContext({ language: 'python' });
    expect((await box.runCode('print(a)', { context })).logs.stdout.join('')).not.toBe('6\n');
    expect(box.listCodeContexts()).toHaveLength(2);
    const slow = await box.runCode('while True: pass', { context, timeoutMs: 300 });
    expect(slow).toMatchObject({ timedOut: true, contextLost: false, error: { name: 'TimeoutError' } });
    await box.removeCodeContext(context);
    expect(await codeOf(box.runCode('a', { context }))).toBe('E_USAGE');
  });
});

describe('lifecycle', () => {
  forBoth('of names, labels, lists and other handles', async (host) => {
    await using box = await host.create({ name: 'mine', metadata: { job: '1' } });
    expect(await codeOf(host.create({ name: 'mine' }))).toBe('E_NAME_TAKEN');
    const same = await host.getOrCreate({ name: 'mine' });
    expect(same.id).toBe(box.id);
    expect(await same.getInfo()).toMatchObject({ name: 'mine', metadata: { job: '1' }, state: 'running' });
    const listed = async (metadata: Readonly<Record<string, string>>): Promise<readonly string[]> => {
      const ids: string[] = [];
      for await (const { sandboxId } of host.list({ metadata })) ids.push(sandboxId);
      return ids;
    };
    expect(await listed({ job: '1' })).toEqual([box.id]);
    expect(await listed({ job: '2' })).toEqual([]);
    const other = await host.connect(box.id);
    await other.files.write('shared', 'x');
    expect(await box.files.read('shared')).toBe('x');
    await box.files.remove('shared');
    other.disconnect();
    expect(await codeOf(host.connect('sbx_nothing'))).toBe('E_SANDBOX_NOT_FOUND');
  });

  forBoth('ends once, and refuses everything afterwards', async (host) => {
    const box = await host.create();
    const waiting = codeOf(box.commands.run(['sleep', '60']));
    // It has begun before the sandbox ends: one that never did is refused, and told nothing.
    const watching: Promise<unknown>[] = [];
    const watched = new Promise<Error | undefined>((resolve) => {
      watching.push(box.files.watchDir('.', () => undefined, { onExit: resolve }));
    });
    await Promise.all(watching);
    await box.commands.run(['echo', 'up']);
    expect(await box.isRunning()).toBe(true);
    const report = await box.kill();
    expect(report).toMatchObject({ cause: 'killed', receipt: { complete: true } });
    expect(await box.kill()).toBe(report);
    expect(await waiting).toMatch(/^E_SANDBOX_(LOST|CLOSED)$/);
    expect(await watched).toMatchObject({ code: expect.stringMatching(/^E_SANDBOX_/) });
    await box.closed;
    expect(await box.isRunning()).toBe(false);
    for (const call of [
      () => box.commands.run('true'),
      () => box.files.read('x'),
      () => box.dial(80),
      () => box.processes(),
      () => box.setTimeout(1000),
      () => box.pause(),
    ])
      expect(await codeOf(call())).toBe('E_SANDBOX_CLOSED');
  });

  forBoth('ends by its time, by idleness and by an abort', async (host) => {
    const timed = await host.create({ timeoutMs: 60_000, limits: { ttl: '2m' } });
    expect(await codeOf(timed.setTimeout(3_600_000))).toBe('E_LIMIT_EXCEEDED');
    expect(await codeOf(timed.setTimeout(-1))).toBe('E_USAGE');
    await timed.setTimeout(50);
    await timed.closed;
    expect((await timed.kill()).cause).toBe('ttl');
    const idle = await host.create({ idleTimeoutMs: 300 });
    await idle.commands.run(['sleep', '0.6']);
    await idle.closed;
    expect((await idle.kill()).cause).toBe('idle');
    const controller = new AbortController();
    const aborted = await host.create({ signal: controller.signal });
    controller.abort();
    await aborted.closed;
    expect((await aborted.kill()).cause).toBe('killed');
    expect(await codeOf(host.create({ signal: AbortSignal.abort() }))).toBe('E_ABORTED');
  });

  forBoth('pauses and resumes', async (host) => {
    await using box = await host.create();
    const cat = await box.commands.run(['cat'], { background: true, stdin: true });
    await box.pause();
    expect((await box.getInfo()).state).toBe('paused');
    expect(await box.isRunning()).toBe(false);
    await cat.sendStdin('x');
    await delay(150);
    expect(cat.stdout).toBe('');
    await box.resume();
    await eventually(() => cat.stdout).toBe('x');
    expect(await box.isRunning()).toBe(true);
    await cat.kill();
  });
});

describe('the double', () => {
  it('tells what was asked of it', async () => {
    const host = new MemoryHost({ commands: COMMANDS });
    await using box = await host.create();
    await box.commands.run('echo a');
    expect(host.commands).toEqual([
      { sandboxId: box.id, argv: ['/bin/bash', '-c', 'echo a'], cwd: '/workspace' },
    ]);
  });

  it('hands what nobody plays to `otherwise`, with the shell line', async () => {
    const host = new MemoryHost({
      otherwise: (argv, { line }) => ({ stdout: line ?? argv.join(' '), exitCode: 3 }),
    });
    await using box = await host.create();
    expect(await box.commands.exec('a | b > c')).toMatchObject({ stdout: 'a | b > c', exitCode: 3 });
    expect(await box.commands.exec(['git', 'log'])).toMatchObject({ stdout: 'git log' });
  });

  it('turns a throw of a handler into exit code 1', async () => {
    const boom: CommandHandler = () => {
      throw new Error('it broke');
    };
    await using box = await new MemoryHost({ commands: { boom } }).create();
    expect(await box.commands.exec(['boom'])).toMatchObject({ exitCode: 1, stderr: 'it broke\n' });
  });

  it('has no network to change and no plan', async () => {
    await using box = await new MemoryHost().create();
    expect(await codeOf(box.network.update({ allow: ['example.com'] }))).toBe('E_UNSUPPORTED');
    expect(() => box.plan).toThrow(expect.objectContaining({ code: 'E_UNSUPPORTED' }));
    expect(await codeOf(box.runCode('1'))).toBe('E_CODE_LANGUAGE');
  });
});
