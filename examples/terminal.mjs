// A terminal in a sandbox, as a web terminal would drive it. Run it after `npm run build`: node examples/terminal.mjs [TIER]
import { Sandbox } from 'glovebox';

const box = await Sandbox.create({ temporary: true, profile: 'code', tier: process.argv[2] ?? 'process' });
try {
  let screen = '';
  const terminal = await box.pty.create({
    cols: 100,
    rows: 30,
    envs: { PS1: '$ ' },
    onData: (bytes) => {
      screen += Buffer.from(bytes).toString();
    },
  });
  const shows = async (text) => {
    while (!screen.includes(text)) await new Promise((done) => setTimeout(done, 20));
  };

  await box.pty.sendInput(terminal.pid, Buffer.from('stty size; tty\n'));
  await shows('30 100');
  await box.pty.resize(terminal.pid, { cols: 120, rows: 40 });
  await box.pty.sendInput(terminal.pid, Buffer.from('stty size; python3 -q\n'));
  await shows('40 120');
  await shows('>>> ');
  await box.pty.sendInput(
    terminal.pid,
    Buffer.from('if True:\n  print("six times seven is", 6 * 7)\n  while True: pass\n\n'),
  );
  await shows('is 42');
  // Ctrl-C ends the loop, not the interpreter.
  await box.pty.sendInput(terminal.pid, Buffer.from('\u0003'));
  await shows('KeyboardInterrupt');
  await box.pty.sendInput(terminal.pid, Buffer.from('exit()\nexit 3\n'));
  const { exitCode } = await terminal.wait().catch((error) => error.result);
  console.log(screen.replaceAll('\r', '').trim());
  console.log(`\nthe shell ended with ${exitCode}`);
} finally {
  await box.kill();
}
