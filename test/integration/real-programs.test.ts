import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttackBox, onHost, PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { nodeTree, npmConfig, REGISTRY, registryMissing, registryPlace } from '../support/npm.ts';
import { findProgram, hostShell } from '../support/users.ts';

const MISSING = registryMissing();

/** The user policy that lets one host through: the configured registry, wherever it stands. */
function allowRegistry(box: TestBox): void {
  const { host, ports, protocol } = registryPlace();
  const rule = `{ id: registry, host: "${host}", ports: [${ports.join()}], protocol: ${protocol}, private: true }`;
  box.policy(`version: 1\nnetwork:\n  allow:\n    - ${rule}\n`);
}

/** Options that carry the npm settings of this machine inside: the registry and its certificate authority. */
function npmFlags(): readonly string[] {
  const authority = npmConfig('cafile');
  const extra = process.env['NODE_EXTRA_CA_CERTS'] ?? '';
  return [
    ...[
      '--env',
      `npm_config_registry=${REGISTRY}`,
      '--env',
      'npm_config_audit=false',
      '--env',
      'npm_config_fund=false',
    ],
    ...['--env', 'npm_config_fetch_retries=0', '--env', 'npm_config_update_notifier=false'],
    ...(authority === '' ? [] : ['--env', `npm_config_cafile=${authority}`, '--read', authority]),
    ...(extra === '' ? [] : ['--env', `NODE_EXTRA_CA_CERTS=${extra}`, '--read', extra]),
    ...nodeTree(),
  ];
}

describe.skipIf(MISSING !== undefined)(`npm install (${MISSING ?? 'from the configured registry'})`, () => {
  it('works with the registry alone allowed, and leaves a record of it', async () => {
    using box = new TestBox();
    allowRegistry(box);
    box.write('package.json', '{ "name": "sample", "version": "1.0.0" }\n');
    const result = await box.run(['npm', 'install', 'is-number@7.0.0'], { flags: npmFlags() });
    expect(result.code, result.stderr).toBe(0);
    expect(existsSync(path.join(box.workspace, 'node_modules/is-number/index.js'))).toBe(true);
    const host = new URL(REGISTRY).hostname;
    const verdicts = box
      .records()
      .filter((record) => record.kind === 'network.verdict')
      .map((record) => record.data);
    expect(verdicts).toContainEqual(expect.objectContaining({ action: 'allow', host }));
    expect(verdicts.filter((data) => data['action'] === 'deny')).toEqual([]);
    const used = await box.run(['node', '-e', 'console.log(require("is-number")(42))'], {
      flags: nodeTree(),
    });
    expect(used).toMatchObject({ code: 0, stdout: 'true\n' });
  }, 120_000);

  it('fails without the rule, and the record names the refusal', async () => {
    using box = new TestBox();
    box.write('package.json', '{ "name": "sample", "version": "1.0.0" }\n');
    const result = await box.run(['npm', 'install', 'is-number@7.0.0'], { flags: npmFlags() });
    expect(result.code).toBe(1);
    const host = new URL(REGISTRY).hostname;
    expect(result.stderr).toContain(`refused ${host}`);
    expect(existsSync(path.join(box.workspace, 'node_modules'))).toBe(false);
    expect(box.records()).toContainEqual(
      expect.objectContaining({
        kind: 'network.verdict',
        data: expect.objectContaining({ action: 'deny', host, rule: 'default.deny' }) as unknown,
      }),
    );
  }, 120_000);
});

describe.skipIf(MISSING !== undefined)(`coding agents (${MISSING ?? 'from the configured registry'})`, () => {
  const packages = [
    { name: '@anthropic-ai/claude-code', program: 'claude' },
    { name: '@openai/codex', program: 'codex' },
    { name: '@google/gemini-cli', program: 'gemini' },
  ];
  let tools = '';

  beforeAll(() => {
    tools = mkdtempSync('/var/tmp/gbx-tools-');
    const env = { ...process.env, npm_config_cache: path.join(tools, 'cache') };
    for (const { name, program } of packages) {
      const args = [
        'install',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--prefix',
        path.join(tools, program),
        name,
      ];
      spawnSync('npm', args, { cwd: tools, env, encoding: 'utf8', timeout: 170_000 });
    }
  }, 520_000);

  afterAll(() => {
    rmSync(tools, { recursive: true, force: true });
  });

  it.each(packages)(
    '$program prints its version inside',
    async ({ program, name }) => {
      using box = new TestBox();
      const dir = path.join(tools, program);
      const manifest = path.join(dir, 'node_modules', name, 'package.json');
      expect(existsSync(manifest), `${name} could not be installed`).toBe(true);
      const { version, bin } = JSON.parse(readFileSync(manifest, 'utf8')) as {
        version: string;
        bin: Record<string, string>;
      };
      const script = path.join(path.dirname(manifest), bin[program] ?? '');
      const start = script.endsWith('js') ? ['node', script] : [nativeProgram(dir, program) ?? script];
      const result = await box.run([...start, '--version'], { flags: ['--read', dir, ...nodeTree()] });
      expect(result.code, result.stderr).toBe(0);
      expect(result.stdout).toContain(version);
    },
    120_000,
  );
});

/** A program that a package brings ready-made for this machine, in a package of its own. */
function nativeProgram(dir: string, program: string): string | undefined {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter(
      (name) =>
        path.basename(name) === program && !name.includes('/.bin/') && name.includes(`linux-${process.arch}`),
    )
    .map((name) => path.join(dir, name))[0];
}

describe.skipIf(findProgram('git') === undefined)('git (needs git)', () => {
  const who = 'git config --global user.name T; git config --global user.email t@example.com';

  it('makes a repository, commits, branches and clones it', async () => {
    using box = new TestBox();
    const script = `set -e; ${who}
git init --quiet -b main repo; cd repo; echo one > file; git add .; git commit --quiet -m first
git checkout --quiet -b side; echo two >> file; git commit --quiet -am second; git log --format=%s
cd ..; git clone --quiet --local repo copy; git -C copy log --format=%s -1; git -C copy fsck --strict`;
    const result = await box.sh(script, { flags: ['--quiet'] });
    expect(result.code, result.stderr).toBe(0);
    expect(result.stdout).toBe('second\nfirst\nsecond\n');
    const host = await onHost(box, ['git', '-C', 'copy', 'status', '--porcelain']);
    expect(host).toMatchObject({ code: 0, stdout: '' });
  });

  it('works in a repository of the host: status is clean, a commit arrives', async () => {
    using box = new TestBox();
    const prepared = await hostShell(
      box,
      `${who}; git init --quiet -b main .; echo one > file; git add .; git commit --quiet -m first`,
    );
    expect(prepared).toMatchObject({ code: 0, stderr: '' });
    const status = await box.sh('git status --porcelain --untracked-files=all --ignored; git stash list');
    expect(status).toEqual({ code: 0, signal: null, stdout: '', stderr: '' });
    const identity = [
      '--env',
      'GIT_AUTHOR_NAME=T',
      '--env',
      'GIT_AUTHOR_EMAIL=t@example.com',
      '--env',
      'GIT_COMMITTER_NAME=T',
      '--env',
      'GIT_COMMITTER_EMAIL=t@example.com',
    ];
    const commit = await box.sh(
      'echo two > second; git add -A; git commit --quiet -m inside; git log --format=%s; git status --porcelain',
      { flags: identity },
    );
    expect(commit).toEqual({ code: 0, signal: null, stdout: 'inside\nfirst\n', stderr: '' });
    const host = await hostShell(
      box,
      'git log --format=%s; git status --porcelain; git ls-files; git fsck --strict',
    );
    expect(host.stdout).toBe('inside\nfirst\nfile\nsecond\n');
  });

  it('of the host goes on working in the directory while a sandbox runs there', async () => {
    using box = new AttackBox('process');
    await hostShell(
      box,
      `${who}; git init --quiet .; echo one > file; git add .; git commit --quiet -m first`,
    );
    const run = box.start(['bash', '-c', 'echo up; read -r x; true']);
    await run.said('up');
    const script =
      'git status --porcelain; echo two > file; git commit --quiet -am second; git log --format=%s';
    expect(await hostShell(box, script)).toMatchObject({ stdout: 'second\nfirst\n', stderr: '' });
    expect((await run.finish()).code).toBe(0);
  });

  it('knows the identity of the caller with the git profile', async () => {
    using box = new TestBox();
    await hostShell(box, `${who}; git init --quiet .`);
    const result = await box.sh(
      'git config user.email; git commit --quiet --allow-empty -m x; git log --format=%an',
      { flags: ['--profile', 'git'] },
    );
    expect(result).toMatchObject({ code: 0, stdout: 't@example.com\nT\n' });
  });
});

describe('languages', () => {
  it('python3 runs a script with threads, processes, a pipe and a temporary file', async () => {
    using box = new TestBox();
    box.write('task.py', 'def square(x): return x * x\n');
    box.write(
      'main.py',
      `import concurrent.futures, hashlib, json, multiprocessing, sqlite3, ssl, subprocess, tempfile
from task import square
with concurrent.futures.ProcessPoolExecutor(2) as pool: squares = list(pool.map(square, range(4)))
with tempfile.NamedTemporaryFile() as file: file.write(b'x'); file.flush(); size = len(open(file.name).read())
shell = subprocess.run('echo a | tr a b', shell=True, capture_output=True, text=True).stdout
lock = multiprocessing.Lock(); lock.acquire(); lock.release()
database = sqlite3.connect('data.db'); database.execute('create table t (x)'); database.commit()
print(json.dumps([squares, size, shell, bool(ssl.create_default_context().get_ca_certs())]))`,
    );
    const result = await box.run([PYTHON, 'main.py']);
    expect(result).toMatchObject({ code: 0, stdout: '[[0, 1, 4, 9], 1, "b\\n", true]\n', stderr: '' });
  });

  it('node runs a script with a worker, a child, a server and a file watcher', async () => {
    using box = new TestBox();
    box.write(
      'main.mjs',
      `import { Worker } from 'node:worker_threads'; import { execFileSync } from 'node:child_process'; import http from 'node:http'; import fs from 'node:fs';
const worker = new Worker('require("node:worker_threads").parentPort.postMessage(6 * 7)', { eval: true });
const answer = await new Promise((resolve) => worker.once('message', resolve));
const server = http.createServer((_, reply) => reply.end('served')).listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const text = await (await fetch('http://127.0.0.1:' + server.address().port)).text(); server.close();
const seen = new Promise((resolve) => fs.watch('.', (_, name) => { if (name === 'fresh') resolve(name); }));
fs.writeFileSync('fresh', 'x');
console.log(answer, text, await seen, execFileSync('echo', ['child']).toString().trim());
process.exit();`,
    );
    const result = await box.run(['node', 'main.mjs'], { flags: nodeTree() });
    expect(result).toMatchObject({ code: 0, stdout: '42 served fresh child\n', stderr: '' });
  });

  it.skipIf(findProgram('gcc') === undefined)('gcc compiles and the program runs (needs gcc)', async () => {
    using box = new TestBox();
    box.write(
      'hello.c',
      '#include <math.h>\n#include <pthread.h>\n#include <stdio.h>\nint main(void) { printf("%.3f\\n", sqrt(2)); return 0; }\n',
    );
    const result = await box.sh(
      'gcc -O2 -pthread -o hello hello.c -lm && ./hello && make --version > /dev/null 2>&1; ./hello',
    );
    expect(result).toMatchObject({ code: 0, stdout: '1.414\n1.414\n', stderr: '' });
  });

  it('base tools work: find, tar, sort, awk, sed, perl, xargs', async () => {
    using box = new TestBox();
    mkdirSync(path.join(box.workspace, 'in'));
    for (let i = 0; i < 20; i++) writeFileSync(path.join(box.workspace, `in/${i}`), `${i}\n`);
    const script = `set -e; tar czf all.tgz in; rm -r in; tar xzf all.tgz; find in -type f -print0 | xargs -0 cat | sort -n | awk '{ s += $1 } END { print s }'
sed -i s/7/seven/ in/7; cat in/7; perl -e 'print 2 ** 10, "\\n"'; date +%Y > /dev/null; ps -e > /dev/null 2>&1 || true; cmp in/3 <(echo 3); mkfifo p; echo x > p & cat p`;
    const result = await box.sh(script);
    expect(result).toMatchObject({ code: 0, stdout: '190\nseven\n1024\nx\n', stderr: '' });
  });
});
