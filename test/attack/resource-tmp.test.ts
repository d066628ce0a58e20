// Fills /tmp, which is memory of the host. Source: tmpfs(5): without a size it may take half of the machine.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier, outcomes } from '../support/attack.ts';

forEachTier('/tmp, /dev/shm and the home directory are bounded', async (tier) => {
  using box = new AttackBox(tier);
  box.policy('version: 1\nfilesystem:\n  tmp: 8MiB\n');
  const result = await box.python(`
for name, path in (('tmp', '/tmp/fill'), ('shm', '/dev/shm/fill'), ('home', os.path.expanduser('~/fill')), ('dev', '/dev/fill')):
    size = 0
    try:
        with open(path, 'wb', buffering=0) as file:
            for _ in range(64): size += file.write(bytes(1 << 20))
        report(name, 'OK')
    except OSError as error: report(name, reason(error))
    report(name + '-size', size)
`);
  expectRefused(result, ['tmp', 'shm', 'home'], ['ENOSPC']);
  expectRefused(result, ['dev'], ['ENOSPC', 'EACCES', 'EROFS', 'EPERM', 'EDQUOT']);
  for (const name of ['tmp', 'shm', 'home'])
    expect(Number(outcomes(result)[`${name}-size`])).toBeLessThanOrEqual(8 << 20);
  expectRecorded(box);
});
