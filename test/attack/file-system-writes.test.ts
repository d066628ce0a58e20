// Replaces programs and settings of the system. Source: persistence by a patched /usr/bin; as root on the host only the mount protects it.
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

const PLACES = [
  '/usr/bin/gbx-attack',
  '/usr/local/bin/gbx-attack',
  '/usr/lib/gbx-attack',
  '/etc/gbx-attack',
  '/etc/ssl/certs/gbx.pem',
  '/gbx-attack',
  '/var/gbx-attack',
];

forEachTier('the system is read-only', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for path in ${JSON.stringify(PLACES)}: attempt(path, lambda: write_file(path))
for path in ('/usr/bin/env', '/etc/profile', '/usr/lib/os-release'): attempt('open ' + path, lambda: os.close(os.open(path, os.O_WRONLY)))
attempt('chmod', lambda: os.chmod('/usr/bin/env', 0o755))
`);
  expectRefused(
    result,
    [...PLACES, 'open /usr/bin/env', 'open /etc/profile', 'open /usr/lib/os-release', 'chmod'],
    ['EROFS', 'EACCES', 'EPERM'],
  );
  expect(PLACES.filter((name) => name.includes('gbx') && existsSync(name))).toEqual([]);
  expectRecorded(box);
});
