// Cuts or rewrites the log file that standard output is appended to. Source: ftruncate(2) works on a descriptor opened for appending.
import { closeSync, openSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, pythonProbe, PYTHON } from '../support/attack.ts';

forEachTier('earlier lines of a log on standard output stay', async (tier) => {
  using box = new AttackBox(tier);
  const log = box.plant('run.log');
  const fd = openSync(log, 'a');
  const script = `
attempt('reopen', lambda: os.close(os.open('/proc/self/fd/1', os.O_WRONLY | os.O_TRUNC)))
attempt('truncate', lambda: os.ftruncate(1, 0))
def overwrite():
    fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) & ~os.O_APPEND)
    os.pwrite(1, b'X' * 20, 0)
attempt('overwrite', overwrite)
`;
  const run = box.start([PYTHON, '-c', pythonProbe(script)], { stdio: ['ignore', fd, 'pipe'] });
  closeSync(fd);
  await run.ended;
  const text = readFileSync(log, 'utf8');
  expect(text.startsWith(`${box.canary}\n`), text).toBe(true);
  expect(text).toContain('overwrite=');
  expectRecorded(box);
});
