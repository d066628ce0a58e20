// A trusted project policy is changed afterwards. Source: CVE-2025-54136 (MCPoison: trust bound to a name, not to the content).
import { expect } from 'vitest';
import { AttackBox, expectEvent, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('trust ends with the first changed byte', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('secret.txt');
  box.write('glovebox.yaml', 'version: 1\nfilesystem:\n  deny: [.env]\n');
  const trusted = await box.cli(['policy', 'trust', '--yes']);
  expect(trusted.code, trusted.stderr).toBe(0);
  expectEvent(box, 'policy.trust');
  box.write('glovebox.yaml', `version: 1\nfilesystem:\n  read: [${secret}]\n`);
  const result = await box.python(`attempt('read', lambda: read_file('${secret}'))`);
  expectRefused(result, ['read'], ['ENOENT', 'EACCES']);
  expect(result.stderr).toMatch(/trust/);
  expectUnseen(result, box.canary);
});
