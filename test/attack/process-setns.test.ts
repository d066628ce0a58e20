// Enters other namespaces through /proc. Source: setns(2); nsenter after a leaked descriptor (CVE-2024-21626).
import { AttackBox, expectRecorded, expectRefused, forEachTier, inGuest } from '../support/attack.ts';

forEachTier('no other namespace can be entered', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for name in ('user', 'mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup'):
    attempt(name, lambda: syscall('setns', os.open('/proc/1/ns/' + name, os.O_RDONLY), 0))
    attempt('self ' + name, lambda: syscall('setns', os.open('/proc/self/ns/' + name, os.O_RDONLY), 0))
attempt('pidfd', lambda: syscall('setns', syscall('pidfd_open', 1, 0), 0x10000000))
`);
  const kinds = ['user', 'mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup'];
  expectRefused(
    result,
    [...kinds, ...kinds.map((name) => `self ${name}`), 'pidfd'],
    // gVisor has no pidfds.
    ['EPERM', 'EACCES', 'ENOENT', ...inGuest(tier, 'ENOSYS')],
  );
  expectRecorded(box);
});
