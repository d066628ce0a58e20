// Makes a user namespace to get capabilities and kernel code with them. Source: user_namespaces(7); most kernel escapes since 2016 begin so.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('no new namespace of any kind', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
kinds = dict(user=0x10000000, mnt=0x20000, net=0x40000000, pid=0x20000000, ipc=0x8000000, uts=0x4000000, cgroup=0x2000000, time=0x80)
for name, flag in kinds.items():
    attempt('unshare ' + name, lambda: syscall('unshare', flag))
    attempt('with user ' + name, lambda: syscall('unshare', flag | 0x10000000))
def clone(flag):
    pid = syscall('clone', flag | 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
for name in ('user', 'mnt', 'net', 'pid'): attempt('clone ' + name, lambda: clone(kinds[name]))
attempt('clone3', lambda: syscall('clone3', struct.pack('Q10Q', 0x10000000, *[0] * 10), 88))
`);
  const kinds = ['user', 'mnt', 'net', 'pid', 'ipc', 'uts', 'cgroup', 'time'];
  expectRefused(
    result,
    kinds.flatMap((name) => [`unshare ${name}`, `with user ${name}`]),
    ['EPERM', 'ENOSPC'],
  );
  expectRefused(result, ['clone user', 'clone mnt', 'clone net', 'clone pid'], ['EPERM', 'ENOSPC']);
  expectRefused(result, ['clone3'], ['ENOSYS']);
  expectRecorded(box);
});
