import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Sandbox, type CodeReport, type SandboxOptions } from '../../src/index.ts';
import { CanaryService, hostLoopbackPolicy, lendMachines, needsProgram, until } from '../support/attack.ts';
import { TestBox, type BoxResult, type RunOptions } from '../support/box.ts';
import { COOKED, Terminal } from '../support/pty.ts';
import { codeOf, expectAllGone } from '../support/sdk.ts';
import { expectNothingLeft, processesOf } from '../support/tree.ts';
import { commandText, hostShell } from '../support/users.ts';

const missing = inject('machineMissing') ?? needsProgram('bwrap');
const TIER = ['--tier', 'vm'] as const;
/** Where QEMU translates every instruction, a busy machine takes its time. */
const PATIENCE_MS = 180_000;
const RUN_MS = 150_000;
const machines = (name: string, body: () => void): void => {
  describe.skipIf(missing !== undefined)(title(name), { timeout: PATIENCE_MS }, body);
};
const title = (name: string): string => (missing === undefined ? name : `${name} (skipped: ${missing})`);

class MachineBox extends TestBox {
  constructor() {
    super();
    lendMachines(this);
  }

  override run(command: readonly string[], options: RunOptions = {}): Promise<BoxResult> {
    return super.run(command, { timeoutMs: RUN_MS, ...options });
  }

  /** A sandbox in a machine of this process. */
  create(options: SandboxOptions = {}): Promise<Sandbox> {
    return Sandbox.create({ workspace: this.workspace, hostEnv: this.env(), tier: 'vm', ...options });
  }

  /** `glovebox code run --json -` */
  async code(language: string, code: string, flags: readonly string[] = []): Promise<CodeReport> {
    const words = ['code', 'run', '--json', ...TIER, '--language', language, ...flags, '-'];
    const result = await this.cli(words, { input: code, timeoutMs: RUN_MS });
    expect(result.stderr).toBe('');
    const report: CodeReport = JSON.parse(result.stdout);
    return report;
  }
}

machines('a run in the vm tier', () => {
  it('has a kernel of its own, the ids of every sandbox, and the workspace', async () => {
    using box = new MachineBox();
    box.write('in.txt', 'from the host\n');
    const result = await box.sh('uname -r; id -u; cat in.txt; echo back > out.txt; stat -c %u:%a out.txt', {
      flags: TIER,
    });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    const [release, ...rest] = result.stdout.split('\n');
    expect(release).toMatch(/-cloud-(amd64|arm64)$/);
    expect(readFileSync('/proc/sys/kernel/osrelease', 'utf8')).not.toContain(String(release));
    expect(rest).toEqual(['1000', 'from the host', '1000:644', '']);
    expect(box.read('out.txt')).toBe('back\n');
    expect(statSync(path.join(box.workspace, 'out.txt')).uid).toBe(process.getuid?.());
    expect(box.records().find((record) => record.kind === 'run.start')?.data['tier']).toBe('vm');
    await expectNothingLeft(box);
  });

  it.each<readonly [string, readonly string[], number]>([
    ['its own code', ['bash', '-c', 'cat; echo err >&2; exit 7'], 7],
    ['that of a signal', ['bash', '-c', 'cat; echo err >&2; kill -KILL $$'], 137],
    ['what a missing program has', ['no-such-program'], 127],
  ])('ends with %s', async (_what, command, code) => {
    using box = new MachineBox();
    const result = await box.run(command, { flags: TIER, input: 'typed\n' });
    expect(result.code).toBe(code);
    if (code !== 127) expect([result.stdout, result.stderr]).toEqual(['typed\n', 'err\n']);
  });

  it('carries 10 MB in and out unchanged', async () => {
    using box = new MachineBox();
    const big = path.join(box.base, 'big');
    const out = path.join(box.base, 'out');
    writeFileSync(big, randomBytes(10 * 1024 * 1024));
    const run = commandText(['run', ...TIER, '--', 'cat']);
    const result = await hostShell(box, `cat ${big} | ${run} > ${out}`);
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(out).equals(readFileSync(big))).toBe(true);
  });

  it('gives a terminal of its own, with its size and its keys', async () => {
    using box = new MachineBox();
    const script = "stty size; tty; trap 'exit 5' INT; echo up; while :; do sleep 0.05; done";
    await using terminal = Terminal.glovebox(box, ['run', ...TIER, '--', 'bash', '-c', script], 33, 101);
    await terminal.said('33 101');
    await terminal.said('/dev/pts/0');
    await terminal.said('up');
    terminal.type('\u0003');
    expect(await terminal.ended()).toEqual({ code: 5, modes: COOKED });
    await expectNothingLeft(box);
  });

  it('reaches the ssh agent over a socket of its own where keys are lent, and has none where none are', async () => {
    using box = new MachineBox();
    const agent = path.join(box.base, 'agent.sock');
    await using service = await CanaryService.on({ path: agent });
    const hostKeys = [`SHA256:${Buffer.alloc(32).toString('base64').replace('=', '')}`];
    const rule = { host: 'ssh.example.com', port: 22, protocol: 'ssh', hostKeys };
    const run = (rules: readonly object[], script: string): Promise<BoxResult> => {
      box.policy(JSON.stringify({ version: 1, network: { allow: rules } }));
      return box.run(['python3', '-c', script], { flags: TIER, env: { SSH_AUTH_SOCK: agent } });
    };
    const none = await run(
      [rule],
      "import os; print(os.listdir('/.glovebox'), os.environ.get('SSH_AUTH_SOCK'))",
    );
    expect(none, none.stderr).toMatchObject({ code: 0, stdout: "['agent'] None\n" });
    expect(service.connections).toBe(0);
    const lent = await run([{ ...rule, keys: ['lent'] }], LISTS_KEYS);
    expect(lent, lent.stderr).toMatchObject({ code: 0, stdout: '5\n' });
    // The question alone, asked by the host: the answer was no agent's.
    expect([service.connections, service.received]).toEqual([1, '\0\0\0\u0001\u000b']);
    await expectNothingLeft(box);
  });

  it('knows more files than its file server can hold', { timeout: 300_000 }, async () => {
    using box = new MachineBox();
    const files = 12_000;
    for (let i = 0; i < files; i++) box.write(`many/${i % 100}/${i}`, '');
    const find = commandText(['run', ...TIER, '--', 'find', 'many', '-type', 'f', '-empty']);
    // Each is looked at. The server has the hard limit of whoever starts it.
    const result = await hostShell(box, `ulimit -n 6000; ${find} | wc -l`, { timeoutMs: 250_000 });
    expect(result.stderr).not.toContain('Too many open files');
    expect(result.stdout).toBe(`${files}\n`);
    await expectNothingLeft(box);
  });

  it('refuses to start without what it takes, and says what is missing', async () => {
    using box = new MachineBox();
    for (const name of ['GLOVEBOX_QEMU', 'GLOVEBOX_KERNEL', 'GLOVEBOX_VIRTIOFSD']) {
      const result = await box.run(['true'], { flags: TIER, env: { [name]: '/nonexistent/file' } });
      expect([result.code, result.stdout], result.stderr).toEqual([125, '']);
      expect(result.stderr).toContain('E_TIER_UNAVAILABLE');
    }
    expect(box.records().filter((record) => record.kind === 'run.refused').length).toBe(3);
    await expectNothingLeft(box);
  });
});

/** Asks the lent agent which keys there are (draft-miller-ssh-agent, 4.4), and prints what kind of answer came. */
const LISTS_KEYS = `
import os, socket
with socket.socket(socket.AF_UNIX) as link:
    link.settimeout(60); link.connect(os.environ['SSH_AUTH_SOCK'])
    link.sendall(bytes([0, 0, 0, 1, 11]))
    print(link.recv(64)[4])
`;

machines('a sandbox in a machine', () => {
  let box: MachineBox;
  let sandbox: Sandbox;
  const port = { allowed: 0 };
  const server = createServer((_, response) => response.end('served'));
  beforeAll(async () => {
    if (missing !== undefined) return;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    port.allowed = typeof address === 'object' && address !== null ? address.port : 0;
    box = new MachineBox();
    box.policy(hostLoopbackPolicy(port.allowed, 'http'));
    sandbox = await box.create({ publish: ['0:8080'] });
  }, PATIENCE_MS);
  afterAll(async () => {
    server.close();
    if (missing !== undefined) return;
    await sandbox.kill();
    box[Symbol.dispose]();
  });

  it('serves commands, one after another and at once', async () => {
    expect(sandbox.plan.tier).toBe('vm');
    expect((await sandbox.commands.run('echo one')).stdout).toBe('one\n');
    const all = await Promise.all([1, 2, 3, 4].map((n) => sandbox.commands.run(`echo ${n}`)));
    expect(all.map((result) => result.stdout)).toEqual(['1\n', '2\n', '3\n', '4\n']);
    expect((await sandbox.commands.run('cat', { stdin: 'x'.repeat(300_000) })).stdout.length).toBe(300_000);
    const slow = sandbox.commands.start(
      'trap "echo term; exit 3" TERM; sleep 60 > /dev/null 2>&1 & echo up; wait',
    );
    for await (const event of slow) if (Buffer.from(event.data).toString() === 'up\n') slow.kill('SIGTERM');
    expect((await slow.wait()).exitCode).toBe(3);
  });

  it('reads, writes, lists and watches files', async () => {
    const { files } = sandbox;
    const seen: string[] = [];
    await files.makeDir('sub');
    const watcher = await files.watchDir('sub', ({ name, type }) => void seen.push(`${type} ${name}`));
    expect(await files.write('sub/today.txt', 'grüße 👋\n')).toMatchObject({ size: 13, mode: 0o644 });
    expect(await files.read('sub/today.txt')).toBe('grüße 👋\n');
    expect(box.read('sub/today.txt')).toBe('grüße 👋\n');
    expect((await files.list('sub')).map(({ name }) => name)).toEqual(['today.txt']);
    await until(() => seen.includes('create today.txt'), 'the event');
    await watcher.stop();
    await files.remove('sub');
    expect(box.listing()).not.toContain('sub');
  });

  it('gives a shell on a terminal', async () => {
    let shown = '';
    const handle = await sandbox.pty.create({
      cols: 50,
      rows: 10,
      command: ['bash', '--norc', '-i'],
      onData: (data) => (shown += Buffer.from(data).toString()),
    });
    await sandbox.pty.sendInput(handle.pid, Buffer.from('stty size; exit 3\n'));
    expect(await handle.wait().catch((error: unknown) => error)).toMatchObject({ result: { exitCode: 3 } });
    expect(shown).toContain('10 50');
  });

  it('is dialled, published, and reaches what its policy allows', async () => {
    const url = `http://host-loopback:${port.allowed}/`;
    expect((await sandbox.commands.run(`curl -sS --noproxy '*' ${url}`)).stdout).toBe('served');
    const refused = await sandbox.commands.exec('curl -sS https://example.com/');
    expect(refused.exitCode).not.toBe(0);
    const verdicts = box.records().filter(({ kind }) => kind === 'network.verdict');
    expect(verdicts.map(({ data }) => data['action'])).toEqual(expect.arrayContaining(['allow', 'deny']));
    const serve = 'python3 -m http.server 8080 --bind 127.0.0.1 > /dev/null 2>&1';
    await sandbox.commands.run(serve, { background: true });
    await sandbox.waitForPort(8080);
    const stream = await sandbox.dial(8080);
    stream.end('GET / HTTP/1.0\r\n\r\n');
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toContain('200 OK');
    expect((await fetch(`http://${sandbox.getHost(8080)}/`)).status).toBe(200);
  });

  it.each([
    ['python', 'n = 20', 'print(n + 2)'],
    ['javascript', 'const n = 20', 'console.log(n + 2)'],
    ['bash', 'n=20', 'echo $((n + 2))'],
  ] as const)('keeps state between cells of %s', async (language, first, second) => {
    const context = await sandbox.createCodeContext({ language });
    await sandbox.runCode(first, { context });
    const { error, logs } = await sandbox.runCode(second, { context });
    expect(error).toBeUndefined();
    expect(logs.stdout.join('')).toBe('22\n');
    await sandbox.removeCodeContext(context);
  });

  it('ends with a receipt that nothing of it is left', async () => {
    const parts = partsOf(box);
    expect(parts).toEqual(expect.arrayContaining(['qemu', 'virtiofsd']));
    const { receipt } = await sandbox.kill();
    expect(receipt.items.filter((item) => !item.gone)).toEqual([]);
    expect(receipt.complete).toBe(true);
    // QEMU's jail and the two of its file servers, and their sockets.
    const kinds = receipt.items.map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === 'process').length).toBe(3);
    expect(kinds).toContain('directory');
    expect(partsOf(box)).toEqual([]);
    expect(readdirSync(path.join(box.base, 'run/glovebox/machines'))).toEqual([]);
    await expectAllGone(box);
  });
});

machines('the end of a machine', () => {
  it('comes when its time is up', async () => {
    using box = new MachineBox();
    await using sandbox = await box.create({ timeoutMs: 60_000 });
    const running = codeOf(sandbox.commands.run('sleep 600'));
    await sandbox.setTimeout(50);
    await sandbox.closed;
    expect((await sandbox.kill()).cause).toBe('ttl');
    expect(await running).not.toBe('undefined');
    await expectAllGone(box);
  });

  it.each(['qemu', 'virtiofsd'])('by itself is a crash: %s', async (part) => {
    using box = new MachineBox();
    await using sandbox = await box.create();
    const running = codeOf(sandbox.commands.run('sleep 600'));
    await sandbox.commands.run('echo kept > file; sync');
    for (const { pid } of processesOfMachine(box).filter(({ name }) => name === part))
      process.kill(pid, 'SIGKILL');
    expect(await running).toBe('E_SANDBOX_CRASHED');
    expect(box.read('file')).toBe('kept\n');
    await sandbox.kill();
    await expectNothingLeft(box);
  });
});

machines('code run in the vm tier', () => {
  const HOG = 'x = []\nwhile True: x.append(bytearray(10_000_000))';
  it.each<readonly [string, string, string, readonly string[]]>([
    ['ok', 'bash', 'echo fine', []],
    ['timeout', 'python', 'while True: pass', ['--timeout', '4s']],
    ['memory-limit', 'python', HOG, ['--memory', '256MiB', '--timeout', '60s']],
    ['process-limit', 'python', 'import os\nwhile True: os.fork()', ['--timeout', '60s']],
    ['network-denied', 'bash', 'exec 3<>/dev/tcp/example.com/443', []],
    ['file-denied', 'python', 'open("/etc/shadow").read()', []],
  ])('%s', async (status, language, code, flags) => {
    using box = new MachineBox();
    const seen = await box.code(language, code, flags);
    expect(seen.status, JSON.stringify(seen)).toBe(status);
    if (status === 'memory-limit') {
      const hit = box.records().find(({ kind }) => kind === 'limit.hit');
      expect(hit?.data).toMatchObject({ limit: 'memory' });
    }
    await expectNothingLeft(box);
  });
});

interface Part {
  readonly pid: number;
  readonly name: 'qemu' | 'virtiofsd';
}

/** QEMU and the file servers of a box: the sockets between them, which are the box's, are mounted in their jails. */
function processesOfMachine(box: TestBox): readonly Part[] {
  return processesOf(box).flatMap((line) => {
    const [, pid, program] = /^(\d+) \S*?(qemu-system|ld-linux|virtiofsd)/.exec(line) ?? [];
    if (program === undefined) return [];
    return [{ pid: Number(pid), name: program === 'qemu-system' ? 'qemu' : 'virtiofsd' }];
  });
}

function partsOf(box: TestBox): readonly string[] {
  return processesOfMachine(box).map(({ name }) => name);
}
