// Leaves the caller's terminal without echo, or takes it over as controlling terminal. Source: ioctl_tty(2) TIOCSCTTY, tcsetpgrp(3), termios(3).
import { AttackBox, expectRecorded, forEachTier, onTerminal } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier("the caller's terminal keeps its modes and its foreground group", async (tier) => {
  using box = new AttackBox(tier);
  const seen = await onTerminal(
    box,
    `
import termios, tty
attempt('raw', lambda: tty.setraw(0))
attempt('steal', lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 1))
attempt('group', lambda: os.tcsetpgrp(0, os.getpgrp()))
print('tried', flush=True)
os._exit(0)
`,
  );
  expect(seen.screen).toContain('tried');
  expect(seen.modesKept).toBe(true);
  expect(seen.foregroundKept).toBe(true);
  expectRecorded(box);
});
