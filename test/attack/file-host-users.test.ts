// Learns the host's users, name and machine id. Source: fingerprinting step of targeted malware; machine-id(5) asks to keep it secret.
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('users, host name and machine id of the host are not shown', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.sh(
    'cat /etc/passwd; echo "host:$(uname -n)"; cat /etc/hostname; cat /etc/machine-id; echo tried',
  );
  const hostUsers = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .filter((line) => /^(www-data|backup|mail|_apt):/.test(line));
  expect(hostUsers.length).toBeGreaterThan(0);
  for (const line of hostUsers) expect(result.stdout).not.toContain(line);
  expect(result.stdout).not.toContain(`host:${hostname()}\n`);
  expect(result.stdout, result.stderr).toContain('tried');
  expectRecorded(box);
});
