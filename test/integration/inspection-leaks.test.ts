import { closeSync, openSync, readdirSync, readFileSync, readSync, writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/index.ts';
import { PYTHON, until } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import {
  expectRecord,
  inside,
  inspected,
  nodeProgram,
  Outside,
  tlsOrigin,
  WAYS,
} from '../support/inspection.ts';
import { processesOf } from '../support/tree.ts';
import { isRoot } from '../support/users.ts';

const HOST = 'api.example.test';
const ENV_SECRET = 'env-5f0e62b1c97d4a38b6e1';
const FILE_SECRET = 'fil-c41d7e9a03b84f56a2d8';
const COMMAND_SECRET = 'cmd-7b92e05fd1c64ab38e0f';
const SECRETS = [ENV_SECRET, FILE_SECRET, COMMAND_SECRET];

/** Spellings of the secrets that a search looks for. The middle of base64 is the same whatever stands before it by threes. */
const NEEDLES = SECRETS.flatMap((secret) => [
  Buffer.from(secret),
  Buffer.from(secret, 'utf16le'),
  Buffer.from(Buffer.from(secret).toString('hex')),
  ...[0, 1, 2].map((shift) =>
    Buffer.from(
      Buffer.from('x'.repeat(shift) + secret)
        .toString('base64')
        .slice(4, -4),
    ),
  ),
]);

const holdsSecret = (bytes: Buffer): boolean => NEEDLES.some((needle) => bytes.includes(needle));

const POLICY_CREDENTIALS = (box: TestBox): Readonly<Record<string, unknown>> => ({
  BYENV: { from: 'env:BYENV', bearer: true },
  BYFILE: {
    from: `file:${box.base}/secret`,
    header: 'x-api-key',
    expose: { env: 'BYFILE', files: [`${box.home}/.rc`] },
  },
  BYCOMMAND: {
    from: { command: ['/bin/cat', `${box.base}/other`] },
    header: 'x-other',
    expose: { env: 'BYCOMMAND' },
  },
});

function plantSecrets(box: TestBox): void {
  mkdirSync(box.home, { recursive: true });
  writeFileSync(path.join(box.base, 'secret'), `${FILE_SECRET}\n`, { mode: 0o600 });
  writeFileSync(path.join(box.base, 'other'), `${COMMAND_SECRET}\n`, { mode: 0o600 });
  writeFileSync(path.join(box.home, '.rc'), `key = ${FILE_SECRET}\n`, { mode: 0o600 });
}

/** Files of the box that hold a secret, besides those that the test put there. */
function leakyFiles(box: TestBox): readonly string[] {
  const planted = new Set(['secret', 'other', 'home/.rc'].map((name) => path.join(box.base, name)));
  return readdirSync(box.base, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => !planted.has(file) && holdsSecret(readFileSync(file)));
}

interface Scan {
  readonly bytes: number;
  readonly leaks: readonly string[];
  /** Processes that hold the text that must be there. */
  readonly holders: number;
}

/** Reads all memory of a process. */
function scanMemory(pid: string, expected: Buffer): Scan {
  const leaks: string[] = [];
  let bytes = 0;
  let holds = false;
  for (const { name, piece } of piecesOf(pid)) {
    bytes += piece.length;
    holds ||= piece.includes(expected);
    if (holdsSecret(piece)) leaks.push(`${pid} ${name}`);
  }
  return { bytes, leaks, holders: holds ? 1 : 0 };
}

/** Pieces overlap so that nothing falls between them. */
function* piecesOf(pid: string): Generator<{ readonly name: string; readonly piece: Buffer }> {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    for (const { from, to, name } of regionsOf(pid))
      for (let at = from; at < to; at += PIECE - OVERLAP)
        yield { name, piece: readAt(memory, at, Math.min(PIECE, to - at)) };
  } finally {
    closeSync(memory);
  }
}

function isReadable(pid: string): boolean {
  try {
    closeSync(openSync(`/proc/${pid}/mem`, 'r'));
    return true;
  } catch {
    return false;
  }
}

const PIECE = 4 * 1024 * 1024;
const OVERLAP = 4096;

function regionsOf(pid: string): readonly { from: number; to: number; name: string }[] {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .flatMap((line) => {
      const found = /^([0-9a-f]+)-([0-9a-f]+) (r\S+) \S+ \S+ \S+ *(.*)$/.exec(line);
      if (found === null || found[4] === '[vvar]' || found[4] === '[vsyscall]') return [];
      return [{ from: parseInt(found[1] ?? '', 16), to: parseInt(found[2] ?? '', 16), name: found[4] ?? '' }];
    });
}

/** Reserved address space cannot be read: it holds nothing. */
function readAt(memory: number, at: number, length: number): Buffer {
  const piece = Buffer.alloc(length);
  try {
    return piece.subarray(0, readSync(memory, piece, 0, length, at));
  } catch {
    return Buffer.alloc(0);
  }
}

const PROGRAM = `
import os, sys, urllib.request
request = lambda path, name, value: urllib.request.urlopen(urllib.request.Request('https://${HOST}' + path, headers={name: value}))
kept = []
for path in ('/plain', '/base64', '/gzip', '/header'):
    for name, value in (('authorization', 'Bearer ' + os.environ['BYENV']), ('x-api-key', os.environ['BYFILE']), ('x-other', os.environ['BYCOMMAND'])):
        with request(path, name, value) as answer: kept.append((answer.read(), str(answer.headers)))
if 'abort' in sys.argv: os.abort()
print('ready', len(kept), flush=True); sys.stdin.readline()
`;

async function startEcho(outside: Outside): ReturnType<typeof tlsOrigin> {
  const said = SECRETS.join(' and ');
  return tlsOrigin(outside, (request, response) => {
    response.setHeader('x-echo', said);
    if (request.url === '/gzip') response.setHeader('content-encoding', 'gzip');
    if (request.url === '/plain') response.end(said);
    else if (request.url === '/base64') response.end(Buffer.from(said).toString('base64'));
    else response.end(request.url === '/gzip' ? gzipSync(said) : 'header');
  });
}

const RULE = { id: 'api', host: HOST, paths: ['/**'], credentials: ['BYENV', 'BYFILE', 'BYCOMMAND'] };

function startSandbox(box: TestBox, outside: Outside, port: number): Promise<Sandbox> {
  plantSecrets(box);
  return inspected(box, {
    rules: [RULE],
    sites: { [HOST]: port },
    outside,
    credentials: POLICY_CREDENTIALS(box),
    hostEnv: { BYENV: ENV_SECRET },
  });
}

describe('the real secret is nowhere', () => {
  it('in the memory, environment and arguments of any process inside, where the placeholder is', async () => {
    using box = new TestBox();
    using outside = new Outside([HOST]);
    await using server = await startEcho(outside);
    await using sandbox = await startSandbox(box, outside, server.port);
    const placeholder = (await inside(sandbox, ['printenv', 'BYENV'])).stdout.trim();
    let said = '';
    const onStdout = (text: string): void => void (said += text);
    const python = sandbox.commands.start([PYTHON, '-c', PROGRAM], { stdin: true, onStdout });
    const script = `const text = await (await fetch('https://${HOST}/plain', { headers: { authorization: 'Bearer ' + process.env.BYENV } })).text();
console.log('ready', text.length); process.stdin.once('data', () => process.exit());`;
    const node = sandbox.commands.start(nodeProgram(WAYS[1], script), { stdin: true, onStdout });
    await until(() => said.split('ready').length === 3, 'both programs');
    const pids = processesOf(box).flatMap((line) => line.split(' ')[0] ?? []);
    const readable = pids.filter(isReadable);
    // The owner of a sandbox may not look into those of its processes that protect themselves; root may.
    if (isRoot) expect(readable).toEqual(pids);
    const scans = readable.map((pid) => scanMemory(pid, Buffer.from(placeholder)));
    expect(scans.flatMap(({ leaks }) => leaks)).toEqual([]);
    expect(scans.reduce((sum, { bytes }) => sum + bytes, 0)).toBeGreaterThan(8 * 1024 * 1024);
    expect(scans.reduce((sum, { holders }) => sum + holders, 0)).toBeGreaterThanOrEqual(2);
    for (const pid of readable)
      for (const name of ['environ', 'cmdline'])
        expect(holdsSecret(readFileSync(`/proc/${pid}/${name}`)), `${pid} ${name}`).toBe(false);
    python.stdin.write('\n');
    node.stdin.write('\n');
    const [first, second] = await Promise.all([python.wait(), node.wait()]);
    expect([first.exitCode, second.exitCode]).toEqual([0, 0]);
    expect(first.stdout).toBe('ready 12\n');
    await expectRecord(box, 'network.request', { action: 'allow', credential: 'BYFILE', status: 200 });
    expect(leakyFiles(box)).toEqual([]);
  });

  it('in what an aborting program leaves: no core dump, or one with the placeholder', async () => {
    using box = new TestBox();
    using outside = new Outside([HOST]);
    await using server = await startEcho(outside);
    await using sandbox = await startSandbox(box, outside, server.port);
    const placeholder = (await inside(sandbox, ['printenv', 'BYENV'])).stdout.trim();
    const script = 'ulimit -c unlimited 2>/dev/null; ulimit -c; "$0" -c "$1" abort';
    const got = await inside(sandbox, ['bash', '-c', script, PYTHON, PROGRAM]);
    expect(got.exitCode, got.stderr).toBe(134);
    const cores = box.listing().filter((name) => name.startsWith('core'));
    for (const name of cores) {
      const core = readFileSync(path.join(box.workspace, name));
      expect(core.includes(placeholder)).toBe(true);
      expect(holdsSecret(core)).toBe(false);
    }
    // The sandbox's limit is a hard 0 unless a policy says otherwise; where it is not, there must be one to look into.
    expect(cores.length > 0 || got.stdout.trim() === '0' || corePattern() !== 'core').toBe(true);
    expect(leakyFiles(box)).toEqual([]);
  });

  it('in a file that the sandbox sees; the masked one holds the placeholder', async () => {
    using box = new TestBox();
    using outside = new Outside([HOST]);
    await using server = await startEcho(outside);
    await using sandbox = await startSandbox(box, outside, server.port);
    // Backwards, so that the search does not find itself.
    const words = SECRETS.map((secret) => secret.split('').reverse().join(''));
    const script = `import os, sys
needles = [word[::-1].encode() for word in sys.argv[1:]]; found = []; read = 0
for top in ('/.glovebox', '/etc', '/home', '/root', '/tmp', '/var', '/run', '/dev/shm', os.environ['HOME'], os.getcwd()):
    for base, dirs, files in os.walk(top):
        for name in files:
            file = os.path.join(base, name)
            if not os.path.isfile(file): continue
            try: data = open(file, 'rb').read()
            except OSError: continue
            read += 1
            if any(needle in data for needle in needles): found.append(file)
print(found, read > 5, open(os.environ['HOME'] + '/.rc').read().strip() == 'key = ' + os.environ['BYFILE'])`;
    const got = await inside(sandbox, [PYTHON, '-c', script, ...words]);
    expect(got).toMatchObject({ exitCode: 0, stdout: '[] True True\n', stderr: '' });
  });
});

function corePattern(): string {
  return readFileSync('/proc/sys/kernel/core_pattern', 'utf8').trim();
}

describe('the command line', () => {
  const failing = (box: TestBox): string =>
    JSON.stringify({
      version: 1,
      network: { allow: [RULE] },
      credentials: {
        ...POLICY_CREDENTIALS(box),
        BROKEN: {
          from: { command: ['/bin/sh', '-c', `cat ${box.base}/other; cat ${box.base}/secret >&2; exit 3`] },
          header: 'x-broken',
          hosts: [HOST],
        },
        DIR: { from: `file:${box.base}`, header: 'x-dir', hosts: [HOST] },
      },
    });

  it('says nothing of a secret: output, errors, records, failed sources', async () => {
    using box = new TestBox();
    plantSecrets(box);
    box.policy(failing(box));
    const script = `env; cat ~/.rc; curl -sS -m 10 -H "Authorization: Bearer $BYENV" https://${HOST}/x; curl -sS -m 10 -H "x-api-key: $BYFILE" http://${HOST}/x; true`;
    const env = { BYENV: ENV_SECRET };
    const results = [
      await box.sh(script, { env }),
      await box.sh(script, { env, flags: ['--json'] }),
      await box.cli(['policy', 'explain', '--sources'], { env }),
      await box.cli(['policy', 'check'], { env }),
      await box.cli(['doctor'], { env }),
      await box.cli(['audit', 'show'], { env }),
    ];
    for (const { stdout, stderr } of results) expect(holdsSecret(Buffer.from(stdout + stderr))).toBe(false);
    expect(results[0]?.code, results[0]?.stderr).toBe(0);
    expect(results[0]?.stdout).toMatch(/^BYENV=gbx_\w+$/m);
    expect(results[0]?.stdout).toMatch(/^key = gbx_\w+$/m);
    expect(results[0]?.stderr).toContain('BROKEN');
    expect(leakyFiles(box)).toEqual([]);
  });
});
