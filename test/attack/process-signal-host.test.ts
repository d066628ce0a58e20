// Signals processes of the host by number, and everything at once. Source: kill(2) with -1; same user outside, so only the namespace stops it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier, isGuest } from '../support/attack.ts';

forEachTier('processes of the host cannot be signalled or seen', async (tier) => {
  using box = new AttackBox(tier);
  const victim = spawn('sleep', ['300'], { stdio: 'ignore' });
  const died = once(victim, 'exit');
  const result = await box.python(`
victim = ${victim.pid}
attempt('kill', lambda: os.kill(victim, signal.SIGKILL))
attempt('group', lambda: os.killpg(victim, signal.SIGKILL))
attempt('pidfd', lambda: syscall('pidfd_open', victim, 0))
attempt('proc', lambda: read_file(f'/proc/{victim}/cmdline'))
report('pids', max(int(name) for name in os.listdir('/proc') if name.isdigit()) < 1000)
for number in (signal.SIGCONT, 0):
    # ESRCH says that there is nobody else.
    try: os.kill(-1, number)
    except ProcessLookupError: pass
`);
  expectRefused(result, ['kill', 'group'], ['ESRCH']);
  expectRefused(result, ['pidfd'], [isGuest(tier) ? 'ENOSYS' : 'ESRCH']);
  expectRefused(result, ['proc'], ['ENOENT']);
  expectRefused(result, ['pids'], ['True']);
  expect(victim.exitCode ?? victim.signalCode).toBe(null);
  victim.kill('SIGKILL');
  await died;
  expectRecorded(box);
});
