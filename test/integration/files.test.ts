import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Sandbox, type FilesystemEvent, type SandboxOptions } from '../../src/index.ts';
import { engineEnv, lendMachines, policyTier, TIERS, until, type AttackTier } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';

type Create = (box: TestBox, options?: SandboxOptions) => Promise<Sandbox>;

const creator =
  (tier: AttackTier): Create =>
  (box, options = {}) => {
    if (tier === 'vm') lendMachines(box);
    return Sandbox.create({
      tier: policyTier(tier),
      workspace: box.workspace,
      hostEnv: box.env(engineEnv(tier)),
      ...options,
    });
  };

/** Processes of the agent's that are there before a command and do not end with it. */
const FIND_HANDS = `
import ctypes, errno, os, signal, sys
def parent(pid): return int(open('/proc/%s/stat' % pid).read().rpartition(')')[2].split()[1])
hands = [int(pid) for pid in os.listdir('/proc') if pid.isdigit() and pid not in ('1', str(os.getpid())) and parent(pid) == 1]
`;

const AGAINST_HANDS = `${FIND_HANDS}
libc = ctypes.CDLL(None, use_errno=True)
class Part(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
def attempt(name, action):
    try: ok = action()
    except OSError as error: print(pid, name, errno.errorcode[error.errno])
    else: print(pid, name, 'OK' if ok >= 0 else errno.errorcode[ctypes.get_errno()])
for pid in hands:
    room = ctypes.create_string_buffer(16)
    ours, theirs = Part(ctypes.addressof(room), 16), Part(0x400000, 16)
    attempt('attach', lambda: libc.ptrace(16, pid, None, None))
    attempt('seize', lambda: libc.ptrace(0x4206, pid, None, None))
    attempt('read', lambda: libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
    attempt('write', lambda: libc.process_vm_writev(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0))
    attempt('limit', lambda: libc.prlimit(pid, 7, ctypes.byref(ours), None))
    attempt('mem', lambda: os.open('/proc/%d/mem' % pid, os.O_RDWR))
    attempt('socket', lambda: os.open('/proc/%d/fd/2' % pid, os.O_RDWR))
`;

const SIGNAL_HANDS = `${FIND_HANDS}
for pid in hands: os.kill(pid, getattr(signal, 'SIG' + sys.argv[1]))
`;

describe.each(TIERS)('files of a sandbox [%s]', (tier) => {
  const create = creator(tier);

  it('are handled by processes that no command can trace, read, limit or make fail by ending them', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    await sandbox.files.write('kept', 'content');
    const { stdout } = await sandbox.commands.run(['python3', '-c', AGAINST_HANDS]);
    const outcomes = stdout.trim().split('\n');
    expect(outcomes.length).toBeGreaterThan(1);
    for (const outcome of outcomes) expect(outcome).toMatch(/^\d+ \S+ (?:EPERM|EACCES|ENXIO|ENOSYS)$/);
    for (const signal of ['KILL', 'STOP', 'TERM', 'INT']) {
      await sandbox.commands.run(['python3', '-c', SIGNAL_HANDS, signal]);
      expect(await sandbox.files.read('kept'), signal).toBe('content');
      await sandbox.files.write('kept', 'content');
    }
  });

  it('are read as text, bytes and a stream; written one by one and in number', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const { files } = sandbox;
    const info = await files.write('notes/today.txt', 'grüße 👋\n');
    expect(info).toMatchObject({
      name: 'today.txt',
      type: 'file',
      size: 13,
      permissions: '-rw-r--r--',
      mode: 0o644,
    });
    expect(info.path).toBe(`${box.workspace}/notes/today.txt`);
    expect(await files.read('notes/today.txt')).toBe('grüße 👋\n');
    expect(await files.read(info.path, { format: 'bytes' })).toEqual(
      new Uint8Array(Buffer.from('grüße 👋\n')),
    );
    const chunks: Uint8Array[] = [];
    for await (const chunk of await files.read(info.path, { format: 'stream' })) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe('grüße 👋\n');
    const many = await files.write([
      { path: 'a.bin', data: Uint8Array.of(1, 2, 3) },
      { path: 'b.bin', data: Uint8Array.of(4).buffer },
      { path: 'c.txt', data: new Blob(['from a blob']) },
      { path: 'd.txt', data: new Blob(['from a stream']).stream() },
    ]);
    expect(many.map((one) => one.size)).toEqual([3, 1, 11, 13]);
    expect(readFileSync(path.join(box.workspace, 'd.txt'), 'utf8')).toBe('from a stream');
    expect((await sandbox.commands.run('cat c.txt')).stdout).toBe('from a blob');
  });

  it('are listed with what is known of them', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const { files } = sandbox;
    await sandbox.commands.run(
      'mkdir -p d/e; echo x > d/e/f; ln -s e d/link; ln -s nowhere d/broken; mkfifo d/pipe; chmod 1750 d/e',
    );
    const flat = await files.list('d');
    expect(
      flat.map(({ name, type, permissions, symlinkTarget }) => [name, type, permissions, symlinkTarget]),
    ).toEqual([
      ['broken', 'other', 'lrwxrwxrwx', 'nowhere'],
      ['e', 'dir', 'drwxr-x--T', undefined],
      ['link', 'dir', 'lrwxrwxrwx', 'e'],
      ['pipe', 'other', 'prw-r--r--', undefined],
    ]);
    expect(
      (await files.list('d', { depth: 2 })).map((one) => one.path.slice(box.workspace.length)),
    ).toContain('/d/e/f');
    const whoami = (await sandbox.commands.run('id -un')).stdout.trim();
    const info = await files.getInfo('d/e/f');
    expect(info).toMatchObject({ owner: whoami, size: 2 });
    expect(
      Math.abs(info.modifiedTime.getTime() - statSync(path.join(box.workspace, 'd/e/f')).mtimeMs),
    ).toBeLessThan(2);
    await expect(files.list('d', { depth: 0 })).rejects.toMatchObject({ code: 'E_USAGE' });
  });

  it('are made, moved and removed', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const { files } = sandbox;
    expect(await files.makeDir('x/y')).toBe(true);
    expect(await files.makeDir('x/y')).toBe(false);
    await files.write('x/y/z', 'content', { mode: 0o600, atomic: true });
    expect(await files.rename('x/y/z', 'elsewhere/z')).toMatchObject({
      name: 'z',
      permissions: '-rw-------',
    });
    expect(await files.exists('x/y/z')).toBe(false);
    expect(await files.exists('elsewhere/z')).toBe(true);
    await files.remove('elsewhere');
    expect(await files.exists('elsewhere')).toBe(false);
    await expect(files.remove('elsewhere')).rejects.toMatchObject({
      code: 'E_FILE_NOT_FOUND',
      httpStatus: 404,
    });
    await expect(files.read('x')).rejects.toMatchObject({ code: 'E_FILE_IS_DIRECTORY' });
    await expect(files.read('x/none')).rejects.toMatchObject({
      code: 'E_FILE_NOT_FOUND',
      context: { name: 'ENOENT' },
    });
  });

  it('are watched until the watch is stopped, times out or its callback throws', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const events: FilesystemEvent[] = [];
    const ends: (Error | undefined)[] = [];
    const handle = await sandbox.files.watchDir('.', (event) => void events.push(event), {
      recursive: true,
      onExit: (error) => ends.push(error),
    });
    await sandbox.files.write('one', '1');
    // The host changes the tree as well.
    writeFileSync(path.join(box.workspace, 'two'), '2');
    await sandbox.files.rename('one', 'three');
    await until(() => events.some((event) => event.name === 'three'), 'the rename');
    // A guest kernel does not see what others do to the tree.
    if (tier === 'process') expect(events).toContainEqual({ name: 'two', type: 'create' });
    expect(events.filter((event) => event.type === 'rename')).toEqual([
      { name: 'one', type: 'rename', to: 'three' },
    ]);
    await handle.stop();
    const before = events.length;
    await sandbox.files.write('four', '4');
    await delay(50);
    expect({ after: events.length, ends }).toEqual({ after: before, ends: [undefined] });
    await sandbox.files.watchDir('.', () => undefined, {
      timeoutMs: 20,
      onExit: (error) => ends.push(error),
    });
    await until(() => ends.length === 2, 'the timeout');
    const failure = new Error('my own');
    const broken = (): void => {
      throw failure;
    };
    await sandbox.files.watchDir('.', broken, { onExit: (error) => ends.push(error) });
    await sandbox.files.write('five', '5');
    await until(() => ends.length === 3, 'the failure');
    expect(ends).toEqual([undefined, undefined, failure]);
  });

  it('work beside 200 operations at once, and end with the sandbox', async () => {
    using box = new TestBox();
    const sandbox = await create(box);
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => sandbox.files.write(`many/${i}`, `content of ${i}`)),
    );
    const all = await Promise.all(Array.from({ length: 200 }, (_, i) => sandbox.files.read(`many/${i}`)));
    expect(all).toEqual(all.map((_, i) => `content of ${i}`));
    const handle: { ended: boolean } = { ended: false };
    await sandbox.files.watchDir('.', () => undefined, { onExit: () => (handle.ended = true) });
    // The processes that did it stay a moment for the next burst.
    const left = async (): Promise<number> =>
      Number((await sandbox.commands.run('ls /proc | grep -c "^[0-9]"')).stdout);
    while ((await left()) >= 10) await delay(100);
    await sandbox.kill();
    await until(() => handle.ended, 'the end of the watch');
    await expect(sandbox.files.read('many/1')).rejects.toMatchObject({ code: 'E_SANDBOX_CLOSED' });
  });

  it('obey the limits of commands', async () => {
    using box = new TestBox();
    await using sandbox = await create(box, { limits: { fileSize: '1MiB' } });
    const large = sandbox.files.write('large', Buffer.alloc(3_000_000));
    await expect(large).rejects.toMatchObject({ code: 'E_FILE_TOO_LARGE', context: { name: 'EFBIG' } });
    expect(statSync(path.join(box.workspace, 'large')).size).toBeLessThanOrEqual(1024 * 1024);
  });
});

describe.each(TIERS)('a sandbox [%s]', (tier) => {
  const create = creator(tier);

  it('tells its processes and ports, and waits for one', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    mkdirSync(path.join(box.workspace, 'www'));
    await using server = sandbox.commands.start([
      'python3',
      '-m',
      'http.server',
      '8123',
      '--bind',
      '127.0.0.1',
    ]);
    await sandbox.waitForPort(8123);
    expect((await sandbox.listeningPorts()).map(({ port, address }) => [port, address])).toEqual([
      [8123, '127.0.0.1'],
    ]);
    const pid = await server.pid;
    const running = await sandbox.processes();
    expect(running.map((one) => one.pid)).toEqual([pid]);
    expect(running[0]).toMatchObject({ ppid: 1, argvCut: false });
    expect(running[0]?.argv.slice(1)).toEqual(['-m', 'http.server', '8123', '--bind', '127.0.0.1']);
    expect(running[0]?.rssBytes).toBeGreaterThan(1024 * 1024);
    await expect(sandbox.waitForPort(8124, { timeoutMs: 30 })).rejects.toMatchObject({ code: 'E_TIMEOUT' });
    await expect(sandbox.waitForPort(0)).rejects.toMatchObject({ code: 'E_USAGE' });
  });
});
