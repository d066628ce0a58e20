// Types a command into the caller's shell, to run after the sandbox has ended. Source: CVE-2017-5226, CVE-2019-10063, CVE-2023-1523 (TIOCSTI).
import { AttackBox, expectRecorded, forEachTier, onTerminal } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier("nothing reaches the input of the caller's terminal", async (tier) => {
  using box = new AttackBox(tier);
  const seen = await onTerminal(
    box,
    `
import termios
def opened(path):
    # gVisor's /dev/tty opens to nobody.
    try: return [os.open(path, os.O_RDWR)]
    except OSError: return []
for fd in (0, 1, 2, *[fd for path in ('/dev/tty', '/dev/console', '/dev/pts/0', '/dev/pts/1') for fd in opened(path)]):
    for byte in b'${box.canary}\\n':
        try: fcntl.ioctl(fd, termios.TIOCSTI, bytes([byte]))
        except OSError: pass
print('tried', flush=True)
`,
  );
  expect(seen.screen).toContain('tried');
  expect(seen.input).not.toContain(box.canary);
  expectRecorded(box);
});
