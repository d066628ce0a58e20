import { describe, expect, it } from 'vitest';
import { AttackBox, PYTHON, until } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { COOKED, Terminal } from '../support/pty.ts';
import { expectNothingLeft } from '../support/tree.ts';
import { commandText, findProgram } from '../support/users.ts';

const sh = (script: string): readonly string[] => ['run', '--', 'bash', '-c', script];

describe('a terminal', () => {
  it("is one inside, of the right size, and not the caller's own", async () => {
    using box = new TestBox();
    const program =
      'import os; print([os.isatty(i) for i in (0, 1, 2)], tuple(os.get_terminal_size()), os.ttyname(0))';
    await using terminal = Terminal.glovebox(box, ['run', '--', PYTHON, '-c', program], 33, 101);
    expect(await terminal.ended()).toEqual({ code: 0, modes: COOKED });
    expect(terminal.lines).toEqual(['[True, True, True] (101, 33) /dev/pts/0', '']);
  });

  it('tells the command when its size changes', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(
      box,
      sh("trap 'stty size; exit 4' WINCH; echo up; while :; do sleep 0.05; done"),
    );
    await terminal.said('up');
    terminal.resize(40, 100);
    await terminal.said('40 100');
    expect((await terminal.ended()).code).toBe(4);
  });

  it.each([
    ['ends the command', 'echo up; sleep 300', 130],
    ['is its own to handle', "trap 'exit 5' INT; echo up; while :; do sleep 0.05; done", 5],
  ])('Ctrl-C %s', async (_what, script, code) => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, sh(script));
    await terminal.said('up');
    terminal.type('\u0003');
    expect(await terminal.ended()).toEqual({ code, modes: COOKED });
    await expectNothingLeft(box);
  });

  it('Ctrl-D ends the input', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, sh('echo up; cat; echo end=$?'));
    await terminal.said('up');
    terminal.type('hello\r');
    await terminal.said('hello');
    await terminal.said('hello');
    terminal.type('\u0004');
    await terminal.said('end=0');
    expect((await terminal.ended()).code).toBe(0);
  });

  it('echoes a line once', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, sh('echo up; read -r line; echo "got $line"'));
    await terminal.said('up');
    terminal.type('word\r');
    await terminal.ended();
    expect(terminal.lines).toEqual(['up', 'word', 'got word', '']);
  });

  it('gets the very bytes that the command wrote', async () => {
    using box = new TestBox();
    const script = "printf 'one\\n'; stty -opost; printf 'a\\nb\\r\\n\\033[1mc'";
    await using terminal = Terminal.glovebox(box, sh(script));
    expect((await terminal.ended()).code).toBe(0);
    expect(terminal.output).toBe('one\r\na\nb\r\n\u001b[1mc');
  });

  it('shows more than a window holds, whole and in order', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, ['run', '--', 'seq', '1', '60000']);
    expect((await terminal.ended()).code).toBe(0);
    const wanted = Array.from({ length: 60_000 }, (_, i) => String(i + 1));
    expect(terminal.lines.length).toBe(wanted.length + 1);
    expect(terminal.lines.slice(0, -1)).toEqual(wanted);
  });

  it('keeps notices back until the command has left the screen', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(
      box,
      sh('getent hosts nothing.example; sleep 0.2; echo last words'),
    );
    await terminal.ended();
    expect(terminal.output.indexOf('refused nothing.example')).toBeGreaterThan(
      terminal.output.indexOf('last words'),
    );
  });
});

describe('a full-screen program', () => {
  const vi = findProgram('vi');
  it.skipIf(vi === undefined)('vi edits a file (needs vi)', async () => {
    using box = new TestBox();
    box.write('notes.txt', 'first line\n');
    await using terminal = Terminal.glovebox(box, ['run', '--', 'vi', '-u', 'NONE', '-N', 'notes.txt']);
    await terminal.said('first line');
    expect(await terminal.modes()).toMatchObject({ canonical: false, echo: false });
    terminal.type('Oadded\u001b');
    terminal.type(':wq\r');
    expect(await terminal.ended()).toEqual({ code: 0, modes: COOKED });
    expect(box.read('notes.txt')).toBe('added\nfirst line\n');
  });

  const less = findProgram('less');
  it.skipIf(less === undefined)('less pages (needs less)', async () => {
    using box = new TestBox();
    box.write('long.txt', Array.from({ length: 500 }, (_, i) => `line number ${i}\n`).join(''));
    await using terminal = Terminal.glovebox(box, ['run', '--', 'less', 'long.txt']);
    await terminal.said('line number 22');
    expect(terminal.output).not.toContain('line number 499');
    terminal.type('G');
    await terminal.said('line number 499');
    terminal.type('q');
    expect(await terminal.ended()).toEqual({ code: 0, modes: COOKED });
  });

  it('curses draws to the whole window', async () => {
    using box = new TestBox();
    const program = `
import curses
def main(screen):
    rows, cols = screen.getmaxyx()
    screen.addstr(rows - 2, cols - 12, 'corner'); screen.refresh()
    key = screen.getkey(); screen.addstr(0, 0, 'key ' + key); screen.refresh(); screen.getkey()
curses.wrapper(main)`;
    await using terminal = Terminal.glovebox(box, ['run', '--', PYTHON, '-c', program], 30, 90);
    await terminal.said('\u001b[29;79H');
    await terminal.said('corner');
    terminal.type('x');
    await terminal.said('key x');
    terminal.type('q');
    expect(await terminal.ended()).toEqual({ code: 0, modes: COOKED });
  });
});

describe("the caller's terminal", () => {
  it.each([
    ['after a command that left its own raw', 'stty raw -echo; exit 3', 3],
    ['after a command that was killed', 'stty raw -echo; kill -KILL $$', 137],
    ['after a program that is not there', 'exec no-such-program', 127],
  ])('is as it was %s', async (_what, script, code) => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, sh(script));
    expect(await terminal.ended()).toEqual({ code, modes: COOKED });
  });

  it('is as it was after a refusal', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, ['run', '--', 'no-such-program']);
    expect(await terminal.ended()).toEqual({ code: 127, modes: COOKED });
    expect(terminal.output).toContain('does not exist inside the sandbox');
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('is as it was after a %s to glovebox', async (signal, code) => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, sh('stty raw -echo; echo up; sleep 300'));
    await terminal.said('up');
    process.kill(await terminal.pid(), signal);
    expect(await terminal.ended()).toEqual({ code, modes: COOKED });
    await expectNothingLeft(box);
  });

  it('takes everything with it when it is closed', async () => {
    using box = new TestBox();
    const terminal = Terminal.glovebox(box, sh("trap '' HUP TERM INT; echo up; while :; do sleep 1; done"));
    await terminal.said('up');
    terminal.hangUp();
    // TERM first; what ignores it is killed after the grace.
    await expectNothingLeft(box, 10_000);
    await terminal[Symbol.asyncDispose]();
  });
});

describe('glovebox shell', () => {
  it('is interactive and ends with the code of the shell', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, ['shell']);
    await terminal.said('$ ');
    terminal.type('echo $((6 * 7)) $-\r');
    await terminal.said('42 ');
    terminal.type('echo made > file; exit 3\r');
    expect(await terminal.ended()).toEqual({ code: 3, modes: COOKED });
    expect(terminal.output).not.toMatch(/no job control|cannot set terminal process group/);
    expect(box.read('file')).toBe('made\n');
  });

  it('stops and continues jobs', async () => {
    using box = new TestBox();
    await using terminal = Terminal.glovebox(box, ['shell']);
    await terminal.said('$ ');
    terminal.type(`bash -c 'echo "j"ob; exec sleep 300'\r`);
    await terminal.said('job\r');
    terminal.type('\u001a');
    await terminal.said('Stopped');
    terminal.type('fg\r');
    await terminal.said('fg\r');
    await terminal.said('sleep 300');
    terminal.type('\u0003');
    await terminal.said('$ ');
    terminal.type('echo code=$?\r');
    await terminal.said('code=130');
    terminal.type('exit 0\r');
    expect(await terminal.ended()).toEqual({ code: 0, modes: COOKED });
  });

  it('reads a script from a pipe', async () => {
    using box = new TestBox();
    const result = await box.cli(['shell'], { input: 'echo from a pipe\nexit 6\n' });
    expect(result).toMatchObject({ code: 6, stdout: 'from a pipe\n' });
  });
});

describe('half a terminal', () => {
  it('is no terminal when stdout is a pipe, and its lines arrive', async () => {
    using box = new TestBox();
    const run = commandText([
      'run',
      '--',
      'bash',
      '-c',
      '[ -t 0 ] && echo tty || echo up; read -r x; echo "got $x"',
    ]);
    await using terminal = new Terminal(box, ['bash', '-c', `${run} | cat`]);
    await terminal.said('up');
    terminal.type('abc\r');
    await terminal.said('got abc');
    expect(await terminal.ended()).toEqual({ code: 0, modes: COOKED });
  });

  it('shows the output of a command that reads a pipe', async () => {
    using box = new TestBox();
    await using terminal = new Terminal(box, [
      'bash',
      '-c',
      `echo from a pipe | ${commandText(['run', '--', 'cat'])}`,
    ]);
    expect((await terminal.ended()).code).toBe(0);
    expect(terminal.lines).toEqual(['from a pipe', '']);
  });

  it('keeps stderr apart when only that is a file', async () => {
    using box = new TestBox();
    const run = commandText(sh('echo out; echo err >&2'));
    await using terminal = new Terminal(box, ['bash', '-c', `${run} 2> ${box.base}/errors`]);
    expect((await terminal.ended()).code).toBe(0);
    expect(terminal.lines).toEqual(['out', '']);
    expect(box.read('../../errors')).toBe('err\n');
  });

  it('lets a run in the background of an interactive shell end', async () => {
    using box = new AttackBox('process');
    await using terminal = new Terminal(box, ['bash', '--norc', '-i']);
    await terminal.said('bash-');
    terminal.type(`${commandText(['run', '--', 'bash', '-c', 'echo done > result'])} &\r`);
    await until(() => box.listing().includes('result'), 'the run in the background to end');
    terminal.type('wait; echo code=$?\r');
    await terminal.said('code=0');
    terminal.type('exit\r');
    // Not the modes: every Node program puts back at its end what the terminal had when it began.
    expect((await terminal.ended()).code).toBe(0);
  });
});
