// Mounts overlayfs in a user namespace to copy a set-user-ID file up. Source: CVE-2021-3493, CVE-2023-0386, CVE-2023-2640.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('overlayfs, fuse and friends cannot be mounted', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for name in ('low', 'up', 'work', 'all'): os.makedirs('/tmp/' + name)
try: syscall('unshare', 0x10000000 | 0x20000)
except OSError: pass
attempt('overlay', lambda: syscall('mount', b'overlay', b'/tmp/all', b'overlay', 0, b'lowerdir=/tmp/low,upperdir=/tmp/up,workdir=/tmp/work'))
for kind in (b'proc', b'sysfs', b'fuse', b'cgroup2', b'ext4', b'bpf'): attempt(kind.decode(), lambda: syscall('mount', b'none', b'/tmp/all', kind, 0, None))
`);
  expectRefused(result, ['overlay', 'proc', 'sysfs', 'fuse', 'cgroup2', 'ext4', 'bpf'], ['EPERM']);
  expectRecorded(box);
});
