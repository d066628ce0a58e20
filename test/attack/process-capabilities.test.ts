// Regains capabilities or another identity. Source: capabilities(7), credentials(7); CVE-2022-0185 needs one.
import { AttackBox, expectRecorded, expectRefused, forEachTier, isGuest } from '../support/attack.ts';

forEachTier('no capability, identity or group can be gained', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
status = dict(line.split(':', 1) for line in read_file('/proc/self/status').decode().splitlines() if ':' in line)
for field in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'CapBnd'): report(field, status.get(field, 'unsaid').strip())
report('NoNewPrivs', str(libc.prctl(39, 0, 0, 0, 0))); report('Seccomp', status['Seccomp'].strip())
attempt('setuid', lambda: os.setuid(0)); attempt('setgid', lambda: os.setgid(0)); attempt('setgroups', lambda: os.setgroups([0]))
attempt('capset', lambda: libc.capset(struct.pack('II', 0x20080522, 0), struct.pack('6I', 1 << 21, 1 << 21, 0, 0, 0, 0)) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('keepcaps', lambda: libc.prctl(47, 2, 21, 0, 0) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('groups', lambda: write_file('/proc/self/setgroups', b'allow'))
attempt('map', lambda: write_file('/proc/self/uid_map', b'0 0 1'))
`);
  expectRefused(
    result,
    ['setuid', 'setgid', 'setgroups', 'capset', 'keepcaps', 'groups', 'map'],
    ['EPERM', 'EACCES', 'EROFS', 'EINVAL'],
  );
  expectRefused(result, ['CapInh', 'CapPrm', 'CapEff', 'CapBnd'], ['0000000000000000']);
  // gVisor has no ambient set, and says nothing of it.
  expectRefused(result, ['CapAmb'], [isGuest(tier) ? 'unsaid' : '0000000000000000']);
  expectRefused(result, ['NoNewPrivs'], ['1']);
  expectRefused(result, ['Seccomp'], ['2']);
  expectRecorded(box);
});
