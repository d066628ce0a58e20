// Hands the root directory over as standard input: fchdir(0) would leave the jail. Source: CVE-2024-21626 (runc, leaked directory descriptor).
import { closeSync, openSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier } from '../support/attack.ts';

forEachTier('a directory as standard input is refused', async (tier) => {
  using box = new AttackBox(tier);
  const root = openSync('/', 'r');
  const run = box.start(['cat', '/proc/self/fd/0/etc/shadow'], { stdio: [root, 'pipe', 'pipe'] });
  closeSync(root);
  const result = await run.ended;
  expect(result.code).toBe(125);
  expect(result.stderr).toContain('directory');
  expect(result.stdout).toBe('');
  expectEvent(box, 'run.refused');
});
