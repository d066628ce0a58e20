import { spawn } from 'node:child_process';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CodeReport } from '../../src/index.ts';
import { isRoot, lendMachines, tierNeeds, TIERS as ASKED, type AttackTier } from '../support/attack.ts';
import { collect, GLOVEBOX, TestBox, type BoxResult } from '../support/box.ts';
import { Terminal } from '../support/pty.ts';
import { expectNothingLeft } from '../support/tree.ts';

type Language = 'python' | 'javascript' | 'bash';

interface Attempt {
  readonly flags?: readonly string[];
  readonly uid?: number;
  readonly tier?: AttackTier;
}

/** `glovebox code run --json -`, as root or as somebody else. */
async function report(
  language: Language,
  code: string,
  attempt: Attempt = {},
): Promise<[CodeReport, BoxResult]> {
  using box = new TestBox();
  const { flags = [], uid, tier = 'process' } = attempt;
  if (tier === 'vm' && uid === undefined) lendMachines(box);
  const words = ['code', 'run', '--json', '--tier', tier, '--language', language, ...flags, '-'];
  const result = await (uid === undefined
    ? box.cli(words, { input: code })
    : asUser(box, uid, { words, input: code }));
  expect(result.stderr).toBe('');
  await expectNothingLeft(box);
  return [JSON.parse(result.stdout) as CodeReport, result];
}

function asUser(
  box: TestBox,
  uid: number,
  { words, input }: { words: readonly string[]; input: string },
): Promise<BoxResult> {
  for (const dir of [box.base, box.home, box.workspace]) chownSync(dir, uid, uid);
  const { XDG_RUNTIME_DIR: runtime, ...env } = box.env();
  chownSync(runtime ?? '', uid, uid);
  const child = spawn(process.execPath, [GLOVEBOX, ...words], {
    cwd: box.workspace,
    env: { ...env, XDG_RUNTIME_DIR: runtime },
    uid,
    gid: uid,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  return collect(child, { input });
}

/** The vm tier where it was asked for: it is slow without KVM, and test/integration/vm.test.ts has the essence. */
const TIERS: readonly AttackTier[] = ASKED.includes('vm') ? ['vm'] : ['process', 'container'];
const USERS = [undefined, ...(isRoot ? [1000] : [])];
const WAYS = TIERS.filter((tier) => tierNeeds(tier) === undefined).flatMap((tier) =>
  USERS.map((uid) => ({ tier, uid, who: uid === undefined ? 'caller' : `uid ${uid}` })),
);

const LOOP: Readonly<Record<Language, string>> = {
  python: 'print("on", flush=True)\nwhile True: pass',
  javascript: 'console.log("on"); for (;;);',
  bash: 'echo on; while :; do :; done',
};
const HOG: Readonly<Record<Language, string>> = {
  python: 'x = []\nwhile True: x.append(bytearray(10_000_000))',
  javascript: 'const x = []; for (;;) x.push(Buffer.alloc(10_000_000, 1))',
  bash: 'x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done',
};
const BOMB: Readonly<Record<Language, string>> = {
  python: 'import os\nwhile True: os.fork()',
  javascript:
    'const { spawn } = require("child_process"); for (let i = 0; i < 100; i++) spawn("sleep", ["60"]); await new Promise((done) => setTimeout(done, 1000))',
  bash: ':(){ :|:& };:',
};
/** Four worker threads, and four programs that each start another. */
const NODES = `
const { Worker } = require('worker_threads'); const { execFile } = require('child_process');
await Promise.all([1, 2, 3, 4].map(() => new Promise((done, failed) => new Worker('0', { eval: true }).on('exit', done).on('error', failed))));
const code = 'console.log(require("child_process").execFileSync(process.execPath, ["-p", "1"]).toString() === "1\\\\n" ? "fine" : "wrong")';
console.log((await Promise.all([1, 2, 3, 4].map(() => new Promise((done) => execFile(process.execPath, ['-e', code], (error, out) => done(error?.message ?? out.trim())))))).join(' '));`;
const POOL = `
import multiprocessing as mp
def square(x): return x * x
with mp.get_context('fork').Pool(4) as pool: print(pool.map(square, range(4)))`;
const CALL: Readonly<Record<Language, string>> = {
  python: 'import urllib.request\nurllib.request.urlopen("https://example.com/")',
  javascript: 'await fetch("https://example.com/")',
  bash: 'exec 3<>/dev/tcp/example.com/443',
};
const SHADOW: Readonly<Record<Language, string>> = {
  python: 'open("/etc/shadow").read()',
  javascript: 'require("fs").readFileSync("/etc/shadow")',
  bash: 'cat /etc/shadow',
};

describe.each(WAYS)('code run in the $tier tier as $who', ({ tier, uid }) => {
  const attempt = (flags: readonly string[] = []): Attempt => ({
    tier,
    flags,
    ...(uid === undefined ? {} : { uid }),
  });
  const languages: readonly Language[] = ['python', 'javascript', 'bash'];

  it.each(languages)('%s: a loop without end is a timeout', async (language) => {
    const [seen, { code }] = await report(language, LOOP[language], attempt(['--timeout', '1s']));
    expect(seen).toMatchObject({
      status: 'timeout',
      stdout: 'on\n',
      denials: [],
      error: { name: 'TimeoutError' },
    });
    expect(seen.durationMs).toBeGreaterThanOrEqual(1000);
    expect(code).toBe(124);
  });

  it.each(languages)('%s: too much memory is a memory limit', async (language) => {
    const [seen, { code }] = await report(
      language,
      HOG[language],
      attempt(['--memory', '192MiB', '--timeout', '30s']),
    );
    expect(seen).toMatchObject({ status: 'memory-limit', denials: [] });
    // The kernel's own choice of what to end must not leave the rest waiting.
    expect(seen.error?.name).not.toBe('TimeoutError');
    expect(code).toBe(137);
  });

  it.each(languages)('%s: too many processes are a process limit', async (language) => {
    const [seen, { code }] = await report(language, BOMB[language], attempt());
    expect(seen).toMatchObject({ status: 'process-limit', denials: [] });
    expect(code).toBe(137);
  });

  it('leaves room for the trees of processes and threads that ordinary programs are', async () => {
    const [nodes] = await report('javascript', NODES, attempt());
    expect(nodes).toMatchObject({ status: 'ok', stdout: 'fine fine fine fine\n' });
    const [pool] = await report('python', POOL, attempt());
    expect(pool).toMatchObject({ status: 'ok', stdout: '[0, 1, 4, 9]\n' });
  });

  it.each(languages)('%s: a way out that no rule allows is a denied network', async (language) => {
    const [seen, { code }] = await report(language, CALL[language], attempt());
    expect(seen.status).toBe('network-denied');
    expect(seen.denials[0]).toMatchObject({
      kind: 'network',
      host: 'example.com',
      reason: 'no rule allows example.com',
      remedy: expect.stringContaining('--allow example.com'),
    });
    expect(code).toBe(1);
  });

  it.each(languages)('%s: a file that is not for it is a denied file', async (language) => {
    const [seen, { code }] = await report(language, SHADOW[language], attempt());
    expect(seen).toMatchObject({ status: 'file-denied', denials: [{ kind: 'file', path: '/etc/shadow' }] });
    expect(JSON.stringify(seen)).not.toContain('root:');
    expect(code).toBe(1);
  });

  it('has hard limits, an empty workspace that goes with it, and nobody else in sight', async () => {
    const [seen] = await report(
      'python',
      'import os, resource; open("made", "w").close()\n[[name for name in os.listdir(".") if os.path.isfile(name)], os.getuid() != 0, os.getcwd()]',
      attempt(),
    );
    expect(seen.status).toBe('ok');
    expect(seen.results[0]?.text).toMatch(/^\[\['made'\], True, '\/.*'\]$/);
  });
});

describe('code run, the answer', () => {
  it('has this shape', async () => {
    const [seen] = await report(
      'python',
      'import sys\nprint("out"); print("err", file=sys.stderr); {"a": 1}',
    );
    expect(seen).toEqual({
      status: 'ok',
      stdout: 'out\n',
      stderr: 'err\n',
      results: [{ text: "{'a': 1}", isMainResult: true }],
      denials: [],
      limits: { hit: [], ...numbersOf(seen.limits) },
      truncated: false,
      durationMs: expect.any(Number),
    });
  });

  const numbersOf = (limits: CodeReport['limits']): Readonly<Record<string, unknown>> =>
    Object.fromEntries(Object.entries(limits).filter(([, value]) => typeof value === 'number'));

  it.each<[Language, string, string, number, string]>([
    ['python', 'sys_ = __import__("sys"); sys_.exit(7)', 'error', 7, 'an exit'],
    ['python', '1 / 0', 'error', 1, 'an exception'],
    ['python', 'import os; os._exit(0)', 'ok', 0, 'a quiet end'],
    ['python', 'import ctypes; ctypes.string_at(0)', 'crashed', 139, 'a crash'],
    ['javascript', 'process.exit(9)', 'error', 9, 'an exit'],
    ['bash', 'exit 0', 'ok', 0, 'an exit of nothing'],
    ['bash', 'set -eu; false; echo no', 'error', 1, 'errexit'],
    ['bash', '(exit 3)', 'error', 3, 'a status'],
    ['python', 'open("/not/in/view")', 'file-denied', 1, 'a path outside of the view'],
    ['python', 'open("nowhere")', 'error', 1, 'a file that is missing'],
    ['python', 'open("/usr/new", "w")', 'file-denied', 1, 'a read-only place'],
  ])('%s: %s is %s with exit code %i: %s', async (language, code, status, exit) => {
    const [seen, result] = await report(language, code);
    expect(seen.status).toBe(status);
    expect(result.code).toBe(exit);
  });

  it('holds limits.output, by default and as asked', async () => {
    const [asked, { code }] = await report('bash', 'yes', { flags: ['--output', '32KiB'] });
    expect(asked).toMatchObject({ status: 'limit', truncated: true, limits: { hit: ['output'] } });
    expect(asked.stdout.length).toBeLessThanOrEqual(32 * 1024);
    expect(code).toBe(137);
    const [usual] = await report('bash', 'yes');
    expect(usual).toMatchObject({ status: 'limit', limits: { hit: ['output'] } });
    expect(usual.stdout.length).toBeLessThanOrEqual(16 * 1024 * 1024);
  });

  it('takes limits of the user policy before those of its profile', async () => {
    using box = new TestBox();
    box.policy('version: 1\nlimits: { timeout: 1s }\n');
    const { stdout } = await box.cli(['code', 'run', '--json', '--language', 'bash', '-'], {
      input: 'sleep 20',
    });
    expect(JSON.parse(stdout)).toMatchObject({ status: 'timeout' });
  });

  it('people see output, values, the error and what stopped it', async () => {
    using box = new TestBox();
    const cli = (code: string, ...flags: string[]): Promise<BoxResult> =>
      box.cli(['code', 'run', '--language', 'python', ...flags, '-'], { input: code });
    expect(await cli('print(1)\n2')).toMatchObject({ code: 0, stdout: '1\n2\n', stderr: '' });
    expect((await cli('1 / 0')).stderr).toMatch(/^Traceback[^]*ZeroDivisionError: division by zero\n$/);
    expect((await cli('open("/etc/shadow")')).stderr).toMatch(/\nglovebox: file-denied: \/etc\/shadow\n$/);
    const caught =
      'import urllib.request\ntry: urllib.request.urlopen("https://example.com/")\nexcept OSError: pass';
    expect((await cli(caught)).stderr).toBe('glovebox: refused: example.com:443\n');
    expect((await cli(caught, '--quiet')).stderr).toBe('');
    expect((await cli('print("x" * 3_000_000)')).stdout).toHaveLength(3_000_001);
  });
});

describe('code run, what a new user types', () => {
  it.each<[string, readonly string[], RegExp]>([
    ['no verb', ['code'], /code needs a verb/],
    ['a misspelt verb', ['code', 'rum', 'a.py'], /no "code rum"\n.*Did you mean code run\?/],
    ['no file', ['code', 'run'], /no code to run\n.*FILE\|-/],
    ['a file that is not there', ['code', 'run', 'nowhere.py'], /nowhere\.py: there is no such file/],
    ['a directory', ['code', 'run', '--language', 'bash', '.'], /cannot run \.: it is a directory/],
    [
      'no known extension',
      ['code', 'run', 'a.rb'],
      /cannot tell the language of a\.rb\n.*--language python\|/,
    ],
    ['a misspelt language', ['code', 'run', '--language', 'pyton', 'a.py'], /Did you mean python\?/],
    ['options behind the file', ['code', 'run', 'a.py', '--timeout', '5s'], /--timeout stands behind a\.py/],
    ['two files', ['code', 'run', 'a.py', 'a.py'], /one file at a time/],
    [
      'nothing on standard input',
      ['code', 'run', '--language', 'python', '-'],
      /standard input: it is empty/,
    ],
    [
      'a timeout of nothing',
      ['code', 'run', '--timeout', '0', 'a.py'],
      /--timeout: found "0", expected a time/,
    ],
    ['no UTF-8', ['code', 'run', 'latin.py'], /latin\.py: it is not UTF-8/],
    ['a large file', ['code', 'run', 'large.py'], /large\.py: it is larger than 8388608 bytes/],
    ['an image that is not there', ['code', 'run', '--image', 'nowhere', 'a.py'], /no image "nowhere"/],
    ['an option that is none', ['code', 'run', '--memroy', '1GiB', 'a.py'], /Did you mean --memory\?/],
  ])('%s', async (_, words, expected) => {
    using box = new TestBox();
    box.write('a.py', 'print(1)\n');
    box.write('a.rb', 'puts 1\n');
    box.write('latin.py', Buffer.from([0x23, 0xe9]));
    box.write('large.py', Buffer.alloc(8 * 1024 * 1024 + 1, '#'));
    const result = await box.cli(words);
    expect(result.stderr).toMatch(expected);
    expect(result.code).toBe(125);
    const machine = await box.cli([...words.slice(0, 1), '--json', ...words.slice(1)]);
    expect(JSON.parse(machine.stdout || machine.stderr)).toMatchObject({
      error: { code: expect.stringMatching(/^E_/) },
    });
  });

  it('a byte order mark, a first line for the system, and a path with spaces are fine', async () => {
    using box = new TestBox();
    mkdirSync(path.join(box.workspace, 'my files'));
    writeFileSync(
      path.join(box.workspace, 'my files/bom.py'),
      '\uFEFF#!/usr/bin/env python3\r\nprint("bom")\r\n',
    );
    box.write('bang.js', '#!/usr/bin/env node\nconsole.log("bang")');
    expect(await box.cli(['code', 'run', 'my files/bom.py'])).toMatchObject({ code: 0, stdout: 'bom\n' });
    expect(await box.cli(['code', 'run', 'bang.js'])).toMatchObject({ code: 0, stdout: 'bang\n' });
  });

  it('code typed at a terminal ends with Ctrl-D, and Ctrl-C ends the sandbox', async () => {
    using box = new TestBox();
    await using typed = Terminal.glovebox(box, ['code', 'run', '--language', 'python', '-']);
    await typed.said('end it with Ctrl-D');
    typed.type('print("ty" + "ped")\r\u0004');
    await typed.said('typed');
    expect((await typed.ended()).code).toBe(0);
    box.write('slow.py', 'print("on", flush=True)\nwhile True: pass\n');
    await using stopped = Terminal.glovebox(box, ['code', 'run', 'slow.py']);
    await stopped.said('on');
    stopped.type('\u0003');
    expect((await stopped.ended()).code).toBe(130);
    await expectNothingLeft(box);
  });

  it('a reader that leaves ends it quietly', async () => {
    using box = new TestBox();
    const child = spawn(process.execPath, [GLOVEBOX, 'code', 'run', '--language', 'bash', '-'], {
      cwd: box.workspace,
      env: box.env(),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdout.once('data', () => child.stdout.destroy());
    const errors: Buffer[] = [];
    child.stderr.on('data', (data: Buffer) => errors.push(data));
    child.stdin.end('while :; do echo line; done');
    const code = await new Promise((resolve) => {
      child.once('close', resolve);
    });
    expect(Buffer.concat(errors).toString()).toBe('');
    expect(code).toBe(141);
    await expectNothingLeft(box);
  });
});
