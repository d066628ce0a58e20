// Reads the user's SSH key. Source: the first thing every poisoned package of 2025 did (s1ngularity, Shai-Hulud).
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('an SSH key of the home directory is not there', async (tier) => {
  using box = new AttackBox(tier);
  const key = box.plant('.ssh/id_ed25519', box.home);
  const result = await box.sh(
    `cat ~/.ssh/id_ed25519; cat ${key}; find / -xdev -name 'id_ed*' 2>/dev/null; echo tried`,
  );
  expect(result.stdout).toBe('tried\n');
  expect(result.stderr.match(/No such file/g)).toHaveLength(2);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
