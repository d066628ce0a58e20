// Opens standard input, a read-only file of the host, again for writing. Source: proc_pid_fd(5): the link opens the file anew with other rights.
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, pythonProbe, PYTHON } from '../support/attack.ts';

forEachTier('a file on standard input cannot be opened for writing', async (tier) => {
  using box = new AttackBox(tier);
  const input = box.plant('input.txt');
  const mode = statSync(input).mode & 0o777;
  const fd = openSync(input, 'r');
  const script = `
attempt('reopen', lambda: os.close(os.open('/proc/self/fd/0', os.O_WRONLY)))
attempt('dev', lambda: os.close(os.open('/dev/stdin', os.O_RDWR | os.O_TRUNC)))
attempt('write', lambda: os.write(0, b'attacked'))
attempt('again', lambda: write_file('/proc/self/fd/0'))
attempt('chmod', lambda: os.fchmod(0, 0o777))
report('input', sys.stdin.read().strip())
`;
  const run = box.start([PYTHON, '-c', pythonProbe(script)], { stdio: [fd, 'pipe', 'pipe'] });
  closeSync(fd);
  const result = await run.ended;
  // Where the file goes through a pipe, only the pipe is opened anew: what counts is the file.
  expect(result.stdout, result.stderr).toContain(`input=${box.canary}`);
  expect(readFileSync(input, 'utf8')).toBe(`${box.canary}\n`);
  expect(statSync(input).mode & 0o777).toBe(mode);
  expectRecorded(box);
});
