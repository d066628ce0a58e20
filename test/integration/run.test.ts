import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { AttackBox, PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { expectNothingLeft } from '../support/tree.ts';
import { commandText, hostShell, quote } from '../support/users.ts';

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** What `--json` says on stderr: one object a line. */
function jsonErrors(stderr: string): readonly { readonly code?: string; readonly next?: string }[] {
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { error?: { code?: string; next?: string } })
    .flatMap((line) => (line.error === undefined ? [] : [line.error]));
}

describe('exit codes', () => {
  it("is the command's own", async () => {
    using box = new TestBox();
    expect((await box.run(['true'])).code).toBe(0);
    expect((await box.sh('exit 3')).code).toBe(3);
    expect((await box.sh('exit 255')).code).toBe(255);
    expect((await box.cli(['--', 'bash', '-c', 'exit 7'])).code).toBe(7);
  });

  it('is 126 for a file that cannot be executed', async () => {
    using box = new TestBox();
    box.write('tool', '#!/bin/sh\n');
    const result = await box.run(['./tool']);
    expect(result.code).toBe(126);
    expect(result.stderr).toContain('E_COMMAND_NOT_EXECUTABLE');
  });

  it('is 127 for a program that is nowhere', async () => {
    using box = new TestBox();
    const result = await box.run(['no-such-program']);
    expect(result.code).toBe(127);
    expect(result.stderr).toContain('no-such-program does not exist inside the sandbox');
  });

  it('is 127 with the option that helps for a program outside the view', async () => {
    using box = new TestBox();
    const bin = path.join(box.base, 'tools/bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(path.join(bin, 'my-tool'), '#!/bin/sh\necho "tool ran"\n', { mode: 0o755 });
    const env = { PATH: `${bin}:${process.env['PATH'] ?? ''}` };
    const refused = await box.run(['my-tool'], { env });
    expect(refused.code).toBe(127);
    expect(refused.stderr).toContain(`--read ${path.dirname(bin)}`);
    const shown = await box.run(['my-tool'], { env, flags: ['--read', path.dirname(bin)] });
    expect(shown).toMatchObject({ code: 0, stdout: 'tool ran\n' });
  });

  it('is 128 and the number of the signal that ended it', async () => {
    using box = new TestBox();
    expect((await box.sh('kill -SEGV $$')).code).toBe(139);
    expect((await box.sh('kill -TERM $$')).code).toBe(143);
    expect((await box.sh('kill -KILL $$')).code).toBe(137);
  });

  it.each(['SIGTERM', 'SIGHUP'] as const)('is 128 and the number for a %s to glovebox', async (signal) => {
    using box = new AttackBox('process');
    const run = box.start(['bash', '-c', 'echo up; sleep 300']);
    await run.said('up');
    run.child.kill(signal);
    const result = await run.ended;
    expect(result.code).toBe(signal === 'SIGTERM' ? 143 : 129);
    await expectNothingLeft(box);
  });

  it('hands SIGINT and SIGUSR1 on and leaves the answer to the command', async () => {
    using box = new AttackBox('process');
    const run = box.start([
      'bash',
      '-c',
      'trap "echo usr" USR1; trap "exit 9" INT; echo up; while :; do sleep 0.05; done',
    ]);
    await run.said('up');
    run.child.kill('SIGUSR1');
    await run.said('usr');
    run.child.kill('SIGINT');
    expect((await run.ended).code).toBe(9);
  });

  it('is 124 for a command past its time', async () => {
    using box = new TestBox();
    const result = await box.sh('echo begun; sleep 300', { flags: ['--timeout', '1s'] });
    expect(result).toMatchObject({ code: 124, stdout: 'begun\n' });
    expect(result.stderr).toContain('timeout');
  });
});

describe('refusals', () => {
  const refused: readonly (readonly [string, readonly string[], string, string])[] = [
    ['an unknown command', ['rnu', '--', 'true'], 'E_USAGE', 'glovebox run'],
    ['an unknown option', ['run', '--profle', 'node', '--', 'true'], 'E_USAGE', '--profile'],
    ['an option without its value', ['run', '--timeout', '--', 'true'], 'E_USAGE', '--timeout TIME'],
    ['an option at the end without its value', ['run', '--env'], 'E_USAGE', '--env NAME[=VALUE]'],
    [
      'a value that a switch does not take',
      ['run', '--quiet=yes', '--', 'true'],
      'E_USAGE',
      '--quiet takes no value',
    ],
    [
      'an option given twice',
      ['run', '--cwd', '/tmp', '--cwd', '/tmp', '--', 'true'],
      'E_USAGE',
      '--cwd was given twice',
    ],
    ['no command', ['run'], 'E_USAGE', 'COMMAND'],
    ['nothing at all', [], '', 'Usage: glovebox run'],
    ['an unknown tier', ['run', '--tier', 'proces', '--', 'true'], 'E_USAGE', 'process'],
    ['an unknown profile', ['run', '--profile', 'nod', '--', 'true'], 'E_PROFILE_UNKNOWN', 'node'],
    [
      'a policy file that is not there',
      ['run', '--policy', 'none.yaml', '--', 'true'],
      'E_POLICY_NOT_FOUND',
      'none.yaml',
    ],
    ['a limit that is none', ['run', '--memory', 'lots', '--', 'true'], 'E_', 'lots'],
    [
      'a visible path that is not there',
      ['run', '--read', '/no/such/path', '--', 'true'],
      'E_POLICY_INVALID',
      '/no/such/path',
    ],
    ['a start directory outside the view', ['run', '--cwd', '/srv', '--', 'true'], 'E_CWD_INVALID', '/srv'],
    ['a port that is none', ['run', '--publish', '99999', '--', 'true'], 'E_USAGE', '--publish'],
    [
      'an environment name that is none',
      ['run', '--env', '=x', '--', 'true'],
      'E_POLICY_INVALID',
      'NAME=VALUE',
    ],
  ];

  it.each(refused)('%s is 125 and says what to do', async (_what, args, code, hint) => {
    using box = new TestBox();
    const result = await box.cli(args);
    expect(result.code).toBe(125);
    expect(result.stdout).toBe('');
    expect(result.stderr).toContain(code);
    expect(result.stderr).toContain(hint);
    expect(result.stderr).not.toContain('E_INTERNAL');
    expect(result.stderr).not.toMatch(/^\s+at /m);
  });

  it('says the same facts to machines with --json, before and after the verb', async () => {
    using box = new TestBox();
    for (const args of [
      ['--json', 'run', '--profle', 'node', '--', 'true'],
      ['run', '--json', '--profle', 'node', '--', 'true'],
    ]) {
      const result = await box.cli(args);
      expect(result.code).toBe(125);
      expect(jsonErrors(result.stderr)).toMatchObject([
        { code: 'E_USAGE', next: expect.stringContaining('--profile') },
      ]);
    }
  });

  it("leaves the command's own --json and --help alone", async () => {
    using box = new TestBox();
    const result = await box.run(['printf', '%s ', '--json', '--help', '--']);
    expect(result).toMatchObject({ code: 0, stdout: '--json --help -- ' });
  });
});

describe('standard streams', () => {
  it('keeps stdout and stderr apart', async () => {
    using box = new TestBox();
    const result = await box.sh('echo out; echo err >&2');
    expect(result).toEqual({ code: 0, signal: null, stdout: 'out\n', stderr: 'err\n' });
  });

  it('passes bytes of every value both ways', async () => {
    using box = new TestBox();
    const bytes = path.join(box.base, 'bytes');
    writeFileSync(
      bytes,
      Uint8Array.from({ length: 4096 }, (_, i) => i % 256),
    );
    const out = path.join(box.base, 'out');
    const result = await hostShell(box, `cat ${bytes} | ${commandText(['run', '--', 'cat'])} > ${out}`);
    expect(result.code).toBe(0);
    expect(sha256(readFileSync(out))).toBe(sha256(readFileSync(bytes)));
  });

  it.each([
    ['a pipe to a pipe', (run: string, big: string, out: string) => `cat ${big} | ${run} | cat > ${out}`],
    ['a file to a file', (run: string, big: string, out: string) => `${run} < ${big} > ${out}`],
    [
      'a pipe to a file with output counted',
      (run: string, big: string, out: string) => `cat ${big} | ${run} > ${out}`,
    ],
  ])('carries 10 MB from %s unchanged', async (name, line) => {
    using box = new TestBox();
    const big = path.join(box.base, 'big');
    const out = path.join(box.base, 'out');
    writeFileSync(big, randomBytes(10 * 1024 * 1024));
    const flags = name.includes('counted') ? ['--output', '64MiB'] : [];
    const result = await hostShell(box, line(commandText(['run', ...flags, '--', 'cat']), big, out));
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(sha256(readFileSync(out))).toBe(sha256(readFileSync(big)));
  });

  it('appends to a file that another writer shares', async () => {
    using box = new TestBox();
    const log = path.join(box.base, 'log');
    const result = await hostShell(
      box,
      `{ echo one; ${commandText(['run', '--', 'echo', 'two'])}; echo three; } > ${log}`,
    );
    expect(result.code).toBe(0);
    expect(readFileSync(log, 'utf8')).toBe('one\ntwo\nthree\n');
  });

  it('leaves input that the command did not read to the next one', async () => {
    using box = new TestBox();
    const run = commandText(['run', '--', 'bash', '-c', 'read line; echo got $line']);
    const result = await hostShell(box, `printf 'one\\ntwo\\n' | { ${run}; cat; }`);
    expect(result).toMatchObject({ code: 0, stdout: 'got one\ntwo\n' });
  });

  it('ends although its input stays open', async () => {
    using box = new AttackBox('process');
    const run = box.start(['echo', 'done']);
    expect(await run.ended).toMatchObject({ code: 0, stdout: 'done\n' });
  });

  it.each([
    ['stdin', '<&-', 'cat; echo end', 'end\n'],
    ['stderr', '2>&-', 'echo out; echo err >&2; true', 'out\n'],
    ['all three', '<&- >&- 2>&-', 'cat; echo out; true', ''],
  ])('runs with %s closed', async (_what, redirection, script, stdout) => {
    using box = new TestBox();
    const result = await hostShell(box, `${commandText(['run', '--', 'bash', '-c', script])} ${redirection}`);
    expect(result).toMatchObject({ code: 0, stdout });
  });

  it('runs with stdout closed and says on stderr what the command said there', async () => {
    using box = new TestBox();
    const result = await hostShell(
      box,
      `${commandText(['run', '--', 'bash', '-c', 'echo note >&2; touch ran'])} >&-`,
    );
    expect(result).toMatchObject({ code: 0, stderr: 'note\n' });
    expect(box.listing()).toEqual(['ran']);
  });

  it.each([
    ['as it is', [] as readonly string[]],
    ['relayed', ['--output', '1GiB']],
  ])('ends soon when the reader of stdout, %s, goes away', async (_how, flags) => {
    using box = new TestBox();
    const result = await hostShell(box, `${commandText(['run', ...flags, '--', 'yes'])} | head -n 1`, {
      timeoutMs: 20_000,
    });
    expect(result).toMatchObject({ code: 0, stdout: 'y\n' });
    await expectNothingLeft(box);
  });

  it('runs in the background of a script', async () => {
    using box = new TestBox();
    const run = commandText(['run', '--', 'bash', '-c', 'echo in the background']);
    const result = await hostShell(box, `${run} & first=$!; wait $first; echo code $?`);
    expect(result).toMatchObject({ code: 0, stdout: 'in the background\ncode 0\n' });
  });
});

describe('the command', () => {
  it('gets its words unchanged', async () => {
    using box = new TestBox();
    const words = [
      'two words',
      '',
      'line\nbreak',
      'tab\t',
      '"quotes\'',
      '$HOME `id` \\',
      'grüße 👋 日本',
      '-n',
      '--',
    ];
    const result = await box.run([
      PYTHON,
      '-c',
      'import json, sys; print(json.dumps(sys.argv[1:]))',
      ...words,
    ]);
    expect(JSON.parse(result.stdout)).toEqual(words);
  });

  it('gets words that are not UTF-8 unchanged', async () => {
    using box = new TestBox();
    const words = commandText([
      'run',
      '--',
      PYTHON,
      '-c',
      'import os, sys; print(os.fsencode(sys.argv[1]).hex())',
    ]);
    const result = await hostShell(box, `${words} $'\\xff\\xfe-x'`);
    expect(result).toMatchObject({ code: 0, stdout: 'fffe2d78\n' });
  });

  it('starts in the workspace, or where --cwd says', async () => {
    using box = new TestBox();
    mkdirSync(path.join(box.workspace, 'sub'));
    expect((await box.run(['pwd'])).stdout).toBe(`${box.workspace}\n`);
    expect((await box.run(['pwd'], { flags: ['--cwd', 'sub'] })).stdout).toBe(`${box.workspace}/sub\n`);
    expect((await box.run(['pwd'], { flags: ['--cwd', '/tmp'] })).stdout).toBe('/tmp\n');
  });

  it('gets the caller environment only where it is named', async () => {
    using box = new TestBox();
    const env = { CANARY_ONE: 'first', CANARY_TWO: 'second', AWS_SECRET_ACCESS_KEY: 'third', TERM: 'xterm' };
    const flags = ['--env', 'CANARY_ONE', '--env', 'SET=a b=c', '--env', 'ABSENT'];
    const result = await box.run([PYTHON, '-c', 'import json, os; print(json.dumps(dict(os.environ)))'], {
      env,
      flags,
    });
    const inside = JSON.parse(result.stdout) as Record<string, string>;
    expect(inside).toMatchObject({ CANARY_ONE: 'first', SET: 'a b=c', TERM: 'xterm', GLOVEBOX: '1' });
    for (const name of ['CANARY_TWO', 'AWS_SECRET_ACCESS_KEY', 'ABSENT', 'XDG_RUNTIME_DIR', 'LD_PRELOAD']) {
      expect(inside).not.toHaveProperty(name);
    }
  });

  it('is an ordinary user with the name and the home it is given', async () => {
    using box = new TestBox();
    const script = 'id -u; id -un; hostname; echo $HOME; echo ~sandbox';
    const home = '/home/somebody';
    const own = ['CONFIG_HOME', 'STATE_HOME', 'CACHE_HOME'].map(
      (name) => [`XDG_${name}`, path.join(box.base, name)] as const,
    );
    const result = await box.sh(script, { env: { HOME: home, ...Object.fromEntries(own) } });
    expect(result.stdout).toBe(`1000\nsandbox\nglovebox\n${home}\n${home}\n`);
    // A home below /tmp cannot be a directory of its own inside, where that is private scratch space.
    const fallback = await box.sh(script, { env: { HOME: '/tmp/nowhere', ...Object.fromEntries(own) } });
    expect(fallback.stdout).toBe('1000\nsandbox\nglovebox\n/home/sandbox\n/home/sandbox\n');
  });
});

describe('the view', () => {
  it('writes the workspace through, as the caller', async () => {
    using box = new TestBox();
    box.write('old.txt', 'before\n');
    const result = await box.sh(
      'umask 022; cat old.txt; echo after > old.txt; mkdir sub; echo new > sub/new.txt; chmod 755 sub/new.txt',
    );
    expect(result).toMatchObject({ code: 0, stdout: 'before\n', stderr: '' });
    expect(box.read('old.txt')).toBe('after\n');
    const stat = statSync(path.join(box.workspace, 'sub/new.txt'));
    expect([stat.uid, stat.gid, stat.mode & 0o777]).toEqual([process.getuid?.(), process.getgid?.(), 0o755]);
    expect(box.listing()).toEqual(['old.txt', 'sub']);
  });

  it('has an empty home, a private /tmp and no host beside the base system', async () => {
    using box = new TestBox();
    writeFileSync(path.join(box.home, '.netrc'), 'secret\n');
    const mark = `gbx-${process.pid}-mark`;
    const script = `ls -A ~; echo =; ls -A /tmp; echo =; ls -A /; echo x > /tmp/${mark}; echo y > ~/kept`;
    const result = await box.sh(script);
    expect(result.code).toBe(0);
    const [homes, tmp, root] = result.stdout.split('=\n').map((part) => part.trimEnd().split('\n'));
    expect(homes).toEqual(['project']);
    expect(tmp?.filter((name) => !box.base.endsWith(name))).toEqual([]);
    const roots = root ?? [];
    for (const name of ['run', 'sys', 'root', 'boot', 'srv', 'mnt', 'media'])
      expect(roots).not.toContain(name);
    expect(existsSync(`/tmp/${mark}`)).toBe(false);
    expect(existsSync(path.join(box.home, 'kept'))).toBe(false);
  });

  it('shows, opens and hides what --read, --write and --deny say', async () => {
    using box = new TestBox();
    const [reading, writing] = [path.join(box.base, 'reading'), path.join(box.base, 'writing')];
    for (const dir of [reading, writing]) {
      mkdirSync(dir);
      writeFileSync(path.join(dir, 'file'), 'text\n');
    }
    box.write('secret.pem', 'secret\n');
    const script = `cat ${reading}/file; echo no > ${reading}/file; echo no > ${reading}/new; echo yes > ${writing}/file; cat secret.pem; echo no > later.env`;
    const flags = ['--read', reading, '--write', writing, '--deny', '*.pem', '--deny', 'later.env'];
    const result = await box.sh(script, { flags });
    expect(result.stdout).toBe('text\n');
    expect(result.stderr.match(/Read-only|Permission denied|Is a directory/g)).toHaveLength(4);
    expect(readFileSync(path.join(writing, 'file'), 'utf8')).toBe('yes\n');
    expect(readFileSync(path.join(reading, 'file'), 'utf8')).toBe('text\n');
    expect(readdirSync(reading)).toEqual(['file']);
    expect(box.listing()).toEqual(['secret.pem']);
  });

  it('takes a symlinked workspace at its real place', async () => {
    using box = new TestBox();
    const link = path.join(box.base, 'link');
    symlinkSync(box.workspace, link);
    const result = await box.sh('pwd; echo here > made.txt', { cwd: link });
    expect(result).toMatchObject({ code: 0, stdout: `${box.workspace}\n` });
    expect((await box.run(['pwd'], { flags: ['--workspace', link], cwd: box.home })).stdout).toBe(
      `${box.workspace}\n`,
    );
    expect(box.listing()).toEqual(['made.txt']);
  });
});

describe('notices', () => {
  const plant = 'mkdir -p deep/.git/hooks; echo x > deep/.git/hooks/pre-commit';

  it('names files that the machine may execute, and is silent with --quiet', async () => {
    using box = new TestBox();
    const said = await box.sh(plant);
    expect(said.code).toBe(0);
    expect(said.stderr).toContain('deep/.git/hooks/pre-commit');
    const quiet = await box.sh(plant.replaceAll('deep', 'other/deeper'), { flags: ['--quiet'] });
    expect(quiet).toMatchObject({ code: 0, stderr: '' });
    const records = box.records().filter((record) => record.kind === 'files.appeared');
    expect(records).toHaveLength(2);
  });

  it('says nothing about an ordinary run', async () => {
    using box = new TestBox();
    expect(await box.sh('echo x > file; cat file')).toEqual({
      code: 0,
      signal: null,
      stdout: 'x\n',
      stderr: '',
    });
  });

  it('says what a refused host needs, once a host', async () => {
    using box = new TestBox();
    const script = 'for i in 1 2 3; do getent hosts nothing.example; done; true';
    const result = await box.sh(script);
    expect(result.stderr.match(/refused nothing\.example/g)).toHaveLength(1);
    expect(result.stderr).toContain('--allow nothing.example');
    const { stderr } = await box.run(['bash', '-c', script], { flags: ['--json'] });
    expect(
      stderr
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([{ event: { action: 'deny', host: 'nothing.example' } }]);
  });
});

it('quotes nothing away: a whole shell line survives', async () => {
  using box = new TestBox();
  const line = `echo ${quote("it's")} "a b" | tr a-z A-Z`;
  expect((await box.sh(line)).stdout).toBe("IT'S A B\n");
});
