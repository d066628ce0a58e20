// Makes a million empty files in /tmp: no bytes, but kernel memory. Source: tmpfs(5) nr_inodes.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, outcomes } from '../support/attack.ts';

forEachTier('empty files are bounded too', async (tier) => {
  using box = new AttackBox(tier);
  box.policy('version: 1\nfilesystem:\n  tmp: 4MiB\n');
  const result = await box.python(`
made, refusal = 0, 'none'
os.mkdir('/tmp/d'); os.chdir('/tmp/d')
try:
    for number in range(200000):
        os.mknod(str(number)); made += 1
except OSError as error: refusal = reason(error)
report('refusal', refusal); report('made', made)
`);
  expect(['ENOSPC', 'ENOMEM'], result.stdout).toContain(outcomes(result)['refusal']);
  expectRecorded(box);
});
