// Opens standard input, a read-only file of the host, again for writing. Source: proc_pid_fd(5): the link opens the file anew with other rights.
import { closeSync, openSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  forEachTier,
  pythonProbe,
  PYTHON,
} from '../support/attack.ts';

forEachTier('a file on standard input cannot be opened for writing', async (tier) => {
  using box = new AttackBox(tier);
  const input = box.plant('input.txt');
  const fd = openSync(input, 'r');
  const script = `
attempt('reopen', lambda: os.close(os.open('/proc/self/fd/0', os.O_WRONLY)))
attempt('dev', lambda: os.close(os.open('/dev/stdin', os.O_RDWR | os.O_TRUNC)))
attempt('write', lambda: os.write(0, b'attacked'))
attempt('chmod', lambda: os.fchmod(0, 0o777))
report('input', sys.stdin.read().strip())
`;
  const run = box.start([PYTHON, '-c', pythonProbe(script)], { stdio: [fd, 'pipe', 'pipe'] });
  closeSync(fd);
  const result = await run.ended;
  expectRefused(result, ['reopen', 'dev', 'write'], ['EACCES', 'EPERM', 'EROFS', 'EBADF', 'ENOENT', 'ENXIO']);
  expect(result.stdout).toContain(`input=${box.canary}`);
  expect(readFileSync(input, 'utf8')).toBe(`${box.canary}\n`);
  expectRecorded(box);
});
