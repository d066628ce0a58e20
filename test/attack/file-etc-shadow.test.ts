// Reads password hashes and private keys of /etc. Source: shadow(5); as root on the host the sandbox's user owns them.
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('/etc has no password hashes, host keys or sudo rules', async (tier) => {
  using box = new AttackBox(tier);
  const names = ['shadow', 'gshadow', 'sudoers', 'ssh', 'ssl/private', 'crontab', 'fstab', 'environment'];
  const result = await box.sh(`for n in ${names.join(' ')}; do ls -d /etc/$n 2>/dev/null; done; echo tried`);
  expect(existsSync('/etc/shadow')).toBe(true);
  expect(result.stdout).toBe('tried\n');
  expectRecorded(box);
});
