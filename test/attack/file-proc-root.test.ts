// Walks out through /proc/PID/root and /proc/PID/cwd. Source: proc_pid_root(5); a classic of containers that share a pid namespace.
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('/proc/PID/root and cwd lead to no file of the host', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('outside.txt');
  const result = await box.python(
    `
for who in ('1', 'self', 'thread-self', str(os.getppid())):
    attempt(f'{who}/root', lambda: read_file(f'/proc/{who}/root${secret}'))
    attempt(f'{who}/cwd', lambda: read_file(f'/proc/{who}/cwd/../../outside.txt'))
attempt('up', lambda: read_file('../' * 40 + '${secret.slice(1)}'))
`,
  );
  const names = ['1/root', '1/cwd', 'self/root', 'self/cwd', 'thread-self/root', 'up'];
  expectRefused(result, names, ['ENOENT', 'EACCES', 'EPERM']);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
