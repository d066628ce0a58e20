import { describe, expect, it } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { AttackBox } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { create, eventually, expectAllGone, forEachOwnTier } from '../support/sdk.ts';
import { hostProgram, hostShell, commandText } from '../support/users.ts';

describe('glovebox list', () => {
  it('shows what lives, filtered, for people, for programs and for other commands', async () => {
    using box = new TestBox();
    expect((await box.cli(['list', '--json'])).stdout).toBe('{"sandboxes":[]}\n');
    await using first = await create(box, { name: 'first', metadata: { team: 'red' }, timeoutMs: 3_600_000 });
    await using second = await create(box);
    await second.pause();
    const shown = await box.cli(['list']);
    expect(shown).toMatchObject({ code: 0, stderr: '' });
    const [head, ...rows] = shown.stdout.trimEnd().split('\n');
    expect(head).toMatch(/^ID +NAME +STATE +TIER +AGE +ENDS IN +OWNER +WORKSPACE$/);
    expect(rows[0]).toMatch(
      new RegExp(`^${first.id} +first +running +process +\\d+s +(1h|59m.*) +${process.pid} +`),
    );
    expect(rows[1]).toMatch(new RegExp(`^${second.id} +- +paused +process +`));
    const json = JSON.parse((await box.cli(['list', '--json', '--metadata', 'team=red'])).stdout) as unknown;
    expect(json).toEqual({ sandboxes: [await first.getInfo()] });
    expect((await box.cli(['list', '-q', '--state', 'paused'])).stdout).toBe(`${second.id}\n`);
    expect((await box.cli(['list', '-q', '--name', 'first'])).stdout).toBe(`${first.id}\n`);
  });

  it.each([
    [['--nmae', 'x'], 'Did you mean --name?'],
    [['--state', 'asleep'], 'asleep'],
    [['--metadata', 'x'], 'KEY=VALUE'],
    [['extra'], 'extra'],
  ])('refuses %j', async (args, words) => {
    using box = new TestBox();
    const result = await box.cli(['list', ...args]);
    expect(result.code).toBe(125);
    expect(result.stderr).toContain(words);
  });
});

describe('glovebox exec', () => {
  forEachOwnTier('relays input, output and the exit code', async (tier) => {
    using box = new TestBox();
    await using sandbox = await create(box, { tier, name: 'mine' });
    const script = 'read line; echo "got $line in $(pwd) $A"; echo problem >&2; exit 7';
    const result = await box.cli(['exec', '-w', '/tmp', '-e', 'A=b', 'mine', '--', 'bash', '-c', script], {
      input: 'a word\n',
    });
    expect(result).toMatchObject({ code: 7, stdout: 'got a word in /tmp b\n', stderr: 'problem\n' });
    const argvs = box.records().flatMap(({ kind, data }) => (kind === 'run.command' ? [data['argv']] : []));
    expect(argvs).toContainEqual(['bash', '-c', script]);
    expect((await box.cli(['exec', sandbox.id, '--', 'bash', '-c', 'kill -TERM $$'])).code).toBe(143);
    expect((await sandbox.commands.run('echo alive')).stdout).toBe('alive\n');
  });

  it('passes much data on byte for byte', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const exec = commandText(['exec', sandbox.id, '--', 'cat']);
    const result = await hostShell(
      box,
      `head -c 20000000 /dev/urandom > data; ${exec} < data | cmp - data && echo same`,
    );
    expect(result).toMatchObject({ code: 0, stdout: 'same\n' });
  });

  it('gives a terminal to a command when there is one on both ends', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const exec = commandText([
      'exec',
      sandbox.id,
      '--',
      'bash',
      '-c',
      'tty | cut -c1-8; stty size; read x; echo "<$x>"; exit 4',
    ]);
    const result = await hostProgram(box, ['python3', '-c', TERMINAL, exec]);
    expect(result.stdout).toContain('/dev/pts');
    expect(result.stdout).toContain('17 91');
    expect(result.stdout).toContain('<typed>');
    expect(result.stdout).toContain('ended with 4');
  });

  it('passes a signal on', async () => {
    using box = new AttackBox('process');
    await using sandbox = await create(box);
    const exec = commandText([
      'exec',
      sandbox.id,
      '--',
      'bash',
      '-c',
      'trap "echo caught; exit 9" USR1; echo up; while :; do sleep 0.1; done',
    ]);
    const result = await hostShell(
      box,
      `exec 3< <(exec ${exec}); read -u 3 up; kill -USR1 $!; wait $!; echo "$?"; cat <&3`,
    );
    expect(result.stdout).toBe('9\ncaught\n');
  });

  it('says which sandbox or program is not there', async () => {
    using box = new TestBox();
    await using sandbox = await create(box);
    const missing = await box.cli(['exec', 'nobody', '--', 'true']);
    expect(missing.code).toBe(125);
    expect(missing.stderr).toContain('E_SANDBOX_NOT_FOUND');
    const program = await box.cli(['exec', sandbox.id, '--', 'no-such-program']);
    expect(program.code).toBe(127);
    expect(program.stderr).toContain('E_COMMAND_NOT_FOUND');
    for (const args of [
      ['exec'],
      ['exec', sandbox.id],
      ['exec', sandbox.id, 'true'],
      ['exec', '-e', 'x', sandbox.id, '--', 'true'],
    ])
      expect((await box.cli(args)).code).toBe(125);
  });

  it('ends with its sandbox', async () => {
    using box = new TestBox();
    const sandbox = await create(box);
    const running = box.cli(['exec', sandbox.id, '--', 'sleep', '300']);
    await eventually(() => box.records().filter(({ kind }) => kind === 'run.command').length).toBe(1);
    await sandbox.kill();
    const result = await running;
    expect(result.code).toBe(125);
    expect(result.stderr).toMatch(/E_SANDBOX_(LOST|CLOSED)/);
  });
});

describe('glovebox kill', () => {
  it('ends the named ones, and all', async () => {
    using box = new TestBox();
    const boxes = await Promise.all(Array.from({ length: 4 }, (_, i) => create(box, { name: `box-${i}` })));
    const named = await box.cli(['kill', 'box-0', boxes[1]?.id ?? '']);
    expect(named).toMatchObject({ code: 0, stderr: '' });
    expect(named.stdout.trimEnd().split('\n').toSorted()).toEqual(
      boxes
        .slice(0, 2)
        .map(({ id }) => `${id} ended; nothing of it is left`)
        .toSorted(),
    );
    const json = await box.cli(['kill', '--all', '--json']);
    expect(json.code).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({
      ended: [{ report: { cause: 'killed', receipt: { complete: true } } }, { report: { cause: 'killed' } }],
    });
    for (const one of boxes) expect(await one.isRunning()).toBe(false);
    for await (const info of Sandbox.list({ hostEnv: box.env() })) expect(info).toBeUndefined();
    await expectAllGone(box);
  });

  it('does what it can, and says what it cannot', async () => {
    using box = new TestBox();
    const sandbox = await create(box);
    const result = await box.cli(['kill', 'nobody', sandbox.id]);
    expect(result.code).toBe(125);
    expect(result.stdout).toContain(`${sandbox.id} ended`);
    expect(result.stderr).toContain('nobody');
    expect((await box.cli(['kill'])).stderr).toContain('E_USAGE');
    expect((await box.cli(['kill', '--all', 'x'])).stderr).toContain('E_USAGE');
    expect((await box.cli(['kill', '--all'])).code).toBe(0);
  });
});

/** Runs a shell line on a terminal of 17 by 91, types a word and a line break, and prints what was shown. */
const TERMINAL = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 17, 91, 0, 0))
    os.execvp('bash', ['bash', '-c', sys.argv[1]])
seen, typed = b'', False
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
    if b'17 91' in seen and not typed:
        typed = True
        os.write(fd, b'typed\\r')
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(seen.decode(errors='replace'), 'ended with', status)
`;
