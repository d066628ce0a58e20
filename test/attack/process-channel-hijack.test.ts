// Takes the descriptor of the channel between pid 1 and the host. Source: pidfd_getfd(2), proc_pid_fd(5).
import { AttackBox, expectRecorded, expectRefused, forEachTier, isGuest } from '../support/attack.ts';

forEachTier('descriptors of pid 1 cannot be opened or copied', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for number in range(3, 8): attempt(f'fd{number}', lambda: os.close(os.open(f'/proc/1/fd/{number}', os.O_RDWR)))
for number in (3, 4, 5): attempt(f'get{number}', lambda: syscall('pidfd_getfd', syscall('pidfd_open', 1, 0), number, 0))
attempt('kcmp', lambda: syscall('kcmp', 1, os.getpid(), 0, 3, 3))
`);
  const copies = ['get3', 'get4', 'get5', 'kcmp'];
  // gVisor shows the descriptors of a process to its user, dumpable or not. The channel is a socket, which cannot be opened again; what
  // can is the command's own pipes.
  if (isGuest(tier)) expectRefused(result, ['fd4', ...copies], ['ENXIO', 'ENOSYS', 'EPERM']);
  else expectRefused(result, ['fd3', 'fd4', 'fd5', 'fd6', 'fd7', ...copies], ['EPERM', 'EACCES', 'ENOENT']);
  expectRecorded(box);
});
