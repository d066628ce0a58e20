// Runs the set-user-ID programs of the system. Source: CVE-2021-4034 (pkexec), CVE-2021-3156 (sudo).
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier, outcomes } from '../support/attack.ts';

forEachTier('set-user-ID programs give nothing', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
import subprocess
for program in ('/usr/bin/su', '/usr/bin/passwd', '/usr/bin/mount', '/usr/bin/newgrp'):
    done = subprocess.run(['/bin/sh', '-c', f'{program} --help >/dev/null 2>&1; cat /proc/self/status'], capture_output=True, text=True)
uid = subprocess.run(['/usr/bin/python3', '-c', 'import os; print(os.geteuid(), os.getuid())'], capture_output=True, text=True).stdout.split()
report('same', uid[0] == uid[1] != '0')
attempt('su', lambda: (_ for _ in ()).throw(OSError(errno.EPERM, '')) if subprocess.run(['/usr/bin/su', '-c', 'id -u'], capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip() != '0' else None)
def nosuid():
    flags = os.statvfs('/usr').f_flag
    if flags & os.ST_NOSUID: raise OSError(errno.EPERM, '')
attempt('nosuid', nosuid)
`);
  // gVisor honours no set-user-ID bit under no_new_privs, and does not tell of mount flags. Docker has no word for them in a bind, and
  // no_new_privs stands alone.
  expectRefused(result, tier === 'process' || tier === 'vm' ? ['su', 'nosuid'] : ['su'], ['EPERM']);
  expect(outcomes(result)['same']).toBe('True');
  expectRecorded(box);
});
