import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Sandbox, type CodeLanguage, type CodeReport, type SandboxOptions } from '../../src/index.ts';
import { hostLoopbackPolicy, lendMachines, needsProgram } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { expectAllGone } from '../support/sdk.ts';
import { expectNothingLeft } from '../support/tree.ts';

const missing = inject('machineMissing') ?? needsProgram('bwrap') ?? needsProgram('runsc');
/** What the profile `code` has: machines of one shape go on from one template. */
const MEMORY = '768MiB';
const TIER = ['--tier', 'vm+gvisor', '--memory', MEMORY] as const;
/** A kernel in an emulated machine, on a busy host. */
const PATIENCE_MS = 240_000;
const nested = describe.skipIf(missing !== undefined);
const title = (name: string): string => (missing === undefined ? name : `${name} (skipped: ${missing})`);

class NestedBox extends TestBox {
  constructor() {
    super();
    lendMachines(this);
  }

  create(options: SandboxOptions = {}): Promise<Sandbox> {
    const wanted = { workspace: this.workspace, hostEnv: this.env(), tier: 'vm+gvisor' } as const;
    return Sandbox.create({ ...wanted, limits: { memory: MEMORY }, ...options });
  }
}

nested(title('a run in the vm+gvisor tier'), { timeout: PATIENCE_MS }, () => {
  it("has gVisor's kernel, the ids of every sandbox, input, output and the exit code", async () => {
    using box = new NestedBox();
    box.write('in.txt', 'from the host\n');
    const script = 'uname -r; id -u; cat in.txt -; echo back > out.txt; echo err >&2; exit 7';
    const result = await box.sh(script, { flags: TIER, input: 'typed\n', timeoutMs: PATIENCE_MS });
    // The first of its kind says that a template is made.
    const complaint = result.stderr.replace(/^glovebox: .*\n/gm, '');
    expect([result.code, result.stdout, complaint]).toEqual([
      7,
      '4.4.0\n1000\nfrom the host\ntyped\n',
      'err\n',
    ]);
    expect(box.read('out.txt')).toBe('back\n');
    expect(statSync(path.join(box.workspace, 'out.txt')).uid).toBe(process.getuid?.());
    const start = box.records().find((record) => record.kind === 'run.start');
    expect(start?.data).toMatchObject({ tier: 'vm+gvisor', driver: 'qemu' });
    await expectNothingLeft(box);
  });

  it('refuses to start without a runsc that works', async () => {
    using box = new NestedBox();
    for (const runsc of ['/nonexistent/runsc', '/usr/bin/true']) {
      const result = await box.run(['true'], { flags: TIER, env: { GLOVEBOX_RUNSC: runsc } });
      expect(result.code).toBe(125);
      expect(result.stderr).toContain('the vm+gvisor tier cannot start');
      expect(result.stderr).toContain('E_TIER_UNAVAILABLE');
    }
    const platform = await box.run(['true'], { flags: TIER, env: { GLOVEBOX_GVISOR_PLATFORM: 'kvm' } });
    expect([platform.code, platform.stderr]).toEqual([
      125,
      expect.stringContaining('GLOVEBOX_GVISOR_PLATFORM'),
    ]);
    expect(box.records().filter((record) => record.kind === 'run.refused').length).toBe(3);
  });

  it('refuses less memory than its kernels need', async () => {
    using box = new NestedBox();
    const result = await box.run(['true'], { flags: ['--tier', 'vm+gvisor', '--memory', '191MiB'] });
    expect([result.code, result.stderr]).toEqual([
      125,
      expect.stringMatching(/vm\+gvisor tier cannot hold limits\.memory[^]*192MiB[^]*E_LIMIT_UNAVAILABLE/),
    ]);
    expect(box.records().map(({ kind }) => kind)).toContain('run.refused');
  });

  it('runs code', async () => {
    using box = new NestedBox();
    const words = ['code', 'run', '--json', ...TIER, '--timeout', '200s', '--language', 'python', '-'];
    const result = await box.cli(words, {
      input: 'import os\nprint(os.uname().release)\n6 * 7',
      timeoutMs: PATIENCE_MS,
    });
    const report: CodeReport = JSON.parse(result.stdout);
    expect(report).toMatchObject({ status: 'ok', stdout: '4.4.0\n', results: [{ text: '42' }] });
    await expectNothingLeft(box);
  });
});

nested(title('a sandbox in gVisor in a machine'), { timeout: PATIENCE_MS }, () => {
  let box: NestedBox;
  let sandbox: Sandbox;
  let server: Server;
  const port = { allowed: 0 };

  beforeAll(async () => {
    if (missing !== undefined) return;
    server = createServer((_, response) => response.end('served'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    port.allowed = typeof address === 'object' && address !== null ? address.port : 0;
    box = new NestedBox();
    box.policy(`${hostLoopbackPolicy(port.allowed, 'tcp')}filesystem:\n  deny: [.env]\n`);
    box.write('.env', 'SECRET=1\n');
    mkdirSync(path.join(box.workspace, '.git/hooks'), { recursive: true });
    writeFileSync(path.join(box.workspace, '.git/config'), '[core]\n');
    sandbox = await box.create();
  }, PATIENCE_MS);
  afterAll(async () => {
    if (missing !== undefined) return;
    server.close();
    await sandbox.kill();
    for (const name of box.listing()) rmSync(path.join(box.workspace, name), { recursive: true });
    await expectAllGone(box);
    box[Symbol.dispose]();
  }, PATIENCE_MS);

  it('serves commands, one after another and at once', async () => {
    expect((await sandbox.commands.run('echo one')).stdout).toBe('one\n');
    const all = await Promise.all([1, 2, 3].map((n) => sandbox.commands.exec(`echo ${n}; exit ${n}`)));
    expect(all.map(({ stdout, exitCode }) => [stdout, exitCode])).toEqual([
      ['1\n', 1],
      ['2\n', 2],
      ['3\n', 3],
    ]);
    expect((await sandbox.commands.run('cat', { stdin: 'x'.repeat(300_000) })).stdout.length).toBe(300_000);
  });

  it.each<readonly [CodeLanguage, string, string]>([
    ['python', 'x = 6', 'print(x * 7)'],
    ['bash', 'cd /tmp; x=6', 'echo $((x * 7)) > y; cat /tmp/y'],
  ])('keeps state between cells of %s', async (language, first, second) => {
    const context = await sandbox.createCodeContext({ language });
    expect((await sandbox.runCode(first, { context })).error).toBeUndefined();
    expect((await sandbox.runCode(second, { context })).logs.stdout.join('')).toBe('42\n');
    await sandbox.removeCodeContext(context);
  });

  it('keeps what the policy hides hidden, and what it protects as it is', async () => {
    const result = await sandbox.commands.exec(
      'cat .env; echo x > .git/hooks/pre-commit; echo x >> .git/config; mv .git gone; rm -f .env; true',
    );
    expect(result.stdout).toBe('');
    expect(box.listing()).toContain('.env');
    expect(box.read('.env')).toBe('SECRET=1\n');
    expect(box.read('.git/config')).toBe('[core]\n');
    expect(result.stderr).toContain('pre-commit');
  });

  it('reaches what its policy allows, and nothing else, with a record', async () => {
    const url = `http://host-loopback:${port.allowed}/`;
    expect((await sandbox.commands.run(`curl -sS --noproxy '*' ${url}`)).stdout).toBe('served');
    const refused = await sandbox.commands.exec('curl -sS https://example.com/');
    expect(refused.exitCode).not.toBe(0);
    const literal = `import errno, socket
try:
    s = socket.create_connection(("192.0.2.7", 443))
    s.sendall(b"SSH-2.0-x\\r\\n")
    print(s.recv(1))
except OSError as error:
    print(errno.errorcode[error.errno])`;
    // The gateway's reset arrives as one, through the machine's relay and the guest's own.
    expect((await sandbox.commands.run(['python3', '-c', literal])).stdout).toBe('ECONNRESET\n');
    const verdicts = box.records().filter(({ kind }) => kind === 'network.verdict');
    expect(verdicts.map(({ data }) => [data['action'], data['host']])).toEqual(
      expect.arrayContaining([
        ['allow', 'host-loopback'],
        ['deny', 'example.com'],
        ['deny', '192.0.2.7'],
      ]),
    );
  });

  it('does file operations inside, and is dialled', async () => {
    const { files } = sandbox;
    expect(await files.write('sub/today.txt', 'grüße\n')).toMatchObject({ mode: 0o644 });
    expect(box.read('sub/today.txt')).toBe('grüße\n');
    expect((await files.list('sub')).map(({ name }) => name)).toEqual(['today.txt']);
    await sandbox.commands.run('python3 -m http.server 8080 --bind 127.0.0.1 > /dev/null 2>&1', {
      background: true,
    });
    await sandbox.waitForPort(8080, { timeoutMs: 120_000 });
    const stream = await sandbox.dial(8080);
    stream.end('GET / HTTP/1.0\r\n\r\n');
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toContain('200 OK');
  });
});
