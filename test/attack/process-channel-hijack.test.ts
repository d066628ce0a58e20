// Takes the descriptor of the channel between pid 1 and the host. Source: pidfd_getfd(2), proc_pid_fd(5).
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('descriptors of pid 1 cannot be opened or copied', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for number in range(3, 8): attempt(f'fd{number}', lambda: os.close(os.open(f'/proc/1/fd/{number}', os.O_RDWR)))
pidfd = syscall('pidfd_open', 1, 0)
for number in (3, 4, 5): attempt(f'get{number}', lambda: syscall('pidfd_getfd', pidfd, number, 0))
attempt('kcmp', lambda: syscall('kcmp', 1, os.getpid(), 0, 3, 3))
`);
  expectRefused(
    result,
    ['fd3', 'fd4', 'fd5', 'fd6', 'fd7', 'get3', 'get4', 'get5', 'kcmp'],
    ['EPERM', 'EACCES', 'ENOENT'],
  );
  expectRecorded(box);
});
