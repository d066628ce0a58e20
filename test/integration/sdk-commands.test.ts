import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { CommandExitError, Sandbox } from '../../src/index.ts';
import { PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { codeOf, create, eventually, forEachOwnTier, Script } from '../support/sdk.ts';

const MIB = 1024 * 1024;

describe('a background command', () => {
  forEachOwnTier('is listed, found again by its number, and killed', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const { commands } = sandbox;
    const handle = await commands.run('exec sleep 300', {
      background: true,
      tag: 'nap',
      envs: { MINE: '1' },
      cwd: '/tmp',
    });
    const [info] = await commands.list();
    expect(info).toEqual({
      pid: handle.pid,
      cmd: 'exec sleep 300',
      args: ['-c', 'exec sleep 300'],
      envs: { MINE: '1' },
      cwd: '/tmp',
      tag: 'nap',
    });
    expect(handle.exitCode).toBeUndefined();
    const second = await commands.connect(handle.pid);
    expect(await commands.kill(handle.pid)).toBe(true);
    const ends = await Promise.all(
      [handle, second].map((one) => one.wait().catch((error: unknown) => error)),
    );
    for (const end of ends) {
      expect(end).toBeInstanceOf(CommandExitError);
      expect(end).toMatchObject({ result: { exitCode: 137, signal: 'SIGKILL' } });
    }
    expect(handle.exitCode).toBe(137);
    expect(await commands.list()).toEqual([]);
    expect(await commands.kill(handle.pid)).toBe(false);
    expect(await handle.kill()).toBe(false);
    expect(await codeOf(commands.connect(handle.pid))).toBe('E_USAGE');
  });

  forEachOwnTier('takes input while it runs, until it is closed', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const handle = await sandbox.commands.run(['cat'], { background: true, stdin: true });
    await sandbox.commands.sendStdin(handle.pid, 'one ');
    await handle.sendStdin(Uint8Array.of(0x74, 0x77, 0x6f));
    await sandbox.commands.closeStdin(handle.pid);
    expect((await handle.wait()).stdout).toBe('one two');
    expect(await codeOf(handle.sendStdin('late'))).toBe('E_USAGE');
  });

  forEachOwnTier('loses no output when its reader goes and another comes', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const handle = await sandbox.commands.run(
      'for i in $(seq 1 2000); do echo "line $i"; done; read; seq 2001 4000',
      {
        background: true,
        stdin: true,
      },
    );
    await eventually(() => handle.cursor.stdout).toBeGreaterThan(1000);
    await handle.disconnect();
    expect(await codeOf(handle.wait())).toBe('E_ABORTED');
    const { cursor, stdout } = handle;
    const rest = await sandbox.commands.connect(handle.pid, { cursor });
    await rest.sendStdin('\n');
    const whole = stdout + (await rest.wait()).stdout;
    const expected = [
      ...Array.from({ length: 2000 }, (_, i) => `line ${i + 1}\n`),
      ...Array.from({ length: 2000 }, (_, i) => `${i + 2001}\n`),
    ].join('');
    expect(whole).toBe(expected);
    expect(await codeOf(sandbox.commands.connect(handle.pid))).toBe('E_USAGE');
  });

  it('that wrote more than is kept says from where on it can be read', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const handle = await sandbox.commands.run('head -c 40000000 /dev/zero; echo end >&2; exec sleep 300', {
      background: true,
      maxOutputBytes: 1,
    });
    await eventually(() => handle.stderr.length).toBe(1);
    const late = await sandbox.commands.connect(handle.pid, { cursor: { stdout: 0 } });
    expect(await codeOf(late.wait())).toBe('E_OUTPUT_GONE');
    // Whoever names no place gets what is still there.
    const kept = await sandbox.commands.connect(handle.pid);
    expect(kept.cursor.stdout).toBeGreaterThan(0);
    await handle.kill();
    await kept.wait().catch(() => undefined);
    expect(kept.cursor.stdout).toBe(40_000_000);
  });

  it('ends at its timeout, and by an abort signal', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const timed = await sandbox.commands.run('sleep 300', { background: true, timeoutMs: 100 });
    expect(await codeOf(timed.wait())).toBe('E_TIMEOUT');
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = await sandbox.commands.run('sleep 300', { background: true, signal });
    controller.abort();
    expect(await codeOf(aborted.wait())).toBe('E_ABORTED');
    expect(aborted.exitCode).toBe(137);
  });

  it('that does not exist is refused at its start', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    expect(await codeOf(sandbox.commands.run(['no-such-program'], { background: true }))).toBe(
      'E_COMMAND_NOT_FOUND',
    );
    expect(await sandbox.commands.list()).toEqual([]);
  });

  it('of which its sandbox is lost says so', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const handle = await sandbox.commands.run('sleep 300', { background: true });
    await sandbox.kill();
    expect(await codeOf(handle.wait())).toMatch(/^E_SANDBOX_(LOST|CLOSED)$/);
  });
});

describe('much data', () => {
  forEachOwnTier('goes in as a stream, with bounded memory of the host', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const chunk = Buffer.alloc(MIB);
    const total = 512;
    let peak = 0;
    const before = process.memoryUsage().rss;
    const zeros = Readable.from(
      (function* () {
        for (let i = 0; i < total; i++) {
          peak = Math.max(peak, process.memoryUsage().rss);
          yield chunk;
        }
      })(),
    );
    const result = await sandbox.commands.run(['wc', '-c'], { stdin: zeros });
    expect(result.stdout.trim()).toBe(String(total * MIB));
    expect(peak - before).toBeLessThan(128 * MIB);
  });

  forEachOwnTier('comes out to a slow reader, with bounded memory of the host', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const command = sandbox.commands.start(['head', '-c', '200000000', '/dev/zero'], { maxOutputBytes: MIB });
    const before = process.memoryUsage().rss;
    let bytes = 0;
    let peak = 0;
    let pauses = 0;
    for await (const { data } of command) {
      bytes += data.length;
      peak = Math.max(peak, process.memoryUsage().rss);
      if (bytes / 10_000_000 > pauses) {
        pauses++;
        await delay(20);
      }
    }
    expect(bytes).toBe(200_000_000);
    expect(await command.wait()).toMatchObject({ exitCode: 0, truncated: true });
    expect(peak - before).toBeLessThan(128 * MIB);
  });

  it('of a background command nobody reads is bounded, and never stops it', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const before = process.memoryUsage().rss;
    const handle = await sandbox.commands.run(['head', '-c', '200000000', '/dev/zero'], {
      background: true,
      maxOutputBytes: 1,
    });
    await handle.disconnect();
    await eventually(() => sandbox.commands.list()).toEqual([]);
    expect(process.memoryUsage().rss - before).toBeLessThan(192 * MIB);
  });

  forEachOwnTier('that is binary arrives byte for byte, both ways', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const bytes = Buffer.from(Array.from({ length: 256 * 40 }, (_, i) => (i * 7) % 256));
    const command = sandbox.commands.start(['cat'], { stdin: bytes });
    const back: Buffer[] = [];
    for await (const { data } of command) back.push(Buffer.from(data));
    expect(Buffer.concat(back).equals(bytes)).toBe(true);
  });
});

describe('a terminal', () => {
  /** Collects what a terminal shows. */
  function screen(): { readonly onData: (data: Uint8Array) => void; readonly text: () => string } {
    const pieces: Buffer[] = [];
    return {
      onData: (data) => pieces.push(Buffer.from(data)),
      text: () => Buffer.concat(pieces).toString(),
    };
  }

  forEachOwnTier('is made, resized, typed into, found again and killed', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const { pty } = sandbox;
    const first = screen();
    const handle = await pty.create({ cols: 91, rows: 17, onData: first.onData, envs: { PS1: '% ' } });
    await pty.sendInput(handle.pid, 'stty size; tty | cut -c1-8\n');
    await eventually(first.text).toContain('17 91');
    await eventually(first.text).toContain('/dev/pts');
    const second = screen();
    const again = await pty.connect(handle.pid, { cursor: handle.cursor, onData: second.onData });
    await pty.resize(handle.pid, { cols: 40, rows: 9 });
    await again.sendStdin('stty size\n');
    await eventually(second.text).toContain('9 40');
    expect(second.text()).not.toContain('17 91');
    expect(await sandbox.commands.list()).toEqual([]);
    expect(await codeOf(sandbox.commands.connect(handle.pid))).toBe('E_USAGE');
    expect(await pty.kill(handle.pid)).toBe(true);
    await handle.wait().catch(() => undefined);
    expect(handle.exitCode).not.toBe(undefined);
    expect(await pty.kill(handle.pid)).toBe(false);
  });

  forEachOwnTier('runs a program of its own, and answers how it ended', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier });
    const shown = screen();
    const handle = await sandbox.pty.create({
      cols: 80,
      rows: 24,
      command: [PYTHON, '-c', 'import sys; print(sys.stdin.isatty()); raise SystemExit(3)'],
      onData: shown.onData,
    });
    expect(await handle.wait().catch((error: unknown) => error)).toMatchObject({ result: { exitCode: 3 } });
    expect(shown.text()).toBe('True\r\n');
  });

  it('of another process’s handle is there too', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    using script = new Script(
      box,
      'process',
      `const box = await Sandbox.connect(${JSON.stringify(sandbox.id)});
       let seen = '';
       const shell = await box.pty.create({ cols: 50, rows: 10, command: ['/bin/bash', '--norc', '-i'], onData: (data) => { seen += Buffer.from(data); } });
       await box.pty.sendInput(shell.pid, 'stty size; exit 5\\n');
       const error = await shell.wait().catch((error) => error);
       say([seen.includes('10 50'), error.result.exitCode]);
       box.disconnect();`,
    );
    expect(await script.next()).toEqual([true, 5]);
    expect((await script.ended).code).toBe(0);
  });
});

describe('a port', () => {
  const SERVER = `
import socket
server = socket.create_server(('127.0.0.1', 8080)); print('up', flush=True)
while True:
    peer, _ = server.accept()
    data = peer.recv(100); peer.sendall(b'echo ' + data); peer.close()`;

  forEachOwnTier(
    'is waited for, dialled from this and another handle, and named by its host',
    async (tier) => {
      using box = new TestBox();
      await using sandbox = await create(box, { tier, publish: ['0:8080'] });
      await sandbox.commands.run([PYTHON, '-c', SERVER], { background: true });
      await sandbox.waitForPort(8080);
      expect((await sandbox.listeningPorts()).map(({ port }) => port)).toEqual([8080]);
      expect(sandbox.getHost(8080)).toBe(`127.0.0.1:${sandbox.ports[0]?.hostPort}`);
      expect(() => sandbox.getHost(9999)).toThrow(expect.objectContaining({ code: 'E_USAGE' }));
      const other = await Sandbox.connect(sandbox.id, { hostEnv: box.env() });
      for (const handle of [sandbox, other]) {
        const stream = await handle.dial(8080);
        stream.end('hello');
        const chunks: Buffer[] = [];
        for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
        expect(Buffer.concat(chunks).toString()).toBe('echo hello');
      }
      expect((await other.getInfo()).sandboxId).toBe(sandbox.id);
      other.disconnect();
    },
  );

  it('that nobody opens is waited for in vain, in time', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    expect(await codeOf(sandbox.waitForPort(8080, { timeoutMs: 200 }))).toBe('E_TIMEOUT');
    const signal = AbortSignal.timeout(100);
    expect(await codeOf(sandbox.waitForPort(8080, { signal }))).toBe('E_ABORTED');
  });
});

describe('input', () => {
  it('is any async iterable, and what is none is refused with nothing left running', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    async function* parts(): AsyncGenerator<Uint8Array> {
      for (const text of ['one ', 'two']) yield await Promise.resolve(Buffer.from(text));
    }
    expect((await sandbox.commands.run(['cat'], { stdin: parts() })).stdout).toBe('one two');
    // As plain JavaScript may give it.
    const wrong: object = { stdin: ['one', 'two'] };
    expect(await codeOf(sandbox.commands.run('sleep 60', wrong))).toBe('E_USAGE');
    expect((await sandbox.commands.exec(['pgrep', '-c', 'sleep'])).stdout.trim()).toBe('0');
  });
});
