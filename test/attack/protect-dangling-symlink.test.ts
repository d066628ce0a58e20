// A protected link leads to a file that does not exist yet: create that. Source: CVE-2017-1002101 family (link to a path of the attacker's choice).
import { existsSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('the absent target of a protected link cannot be created', async (tier) => {
  using box = new AttackBox(tier);
  box.write('ops/readme.txt');
  symlinkSync('ops/later', path.join(box.workspace, '.envrc'));
  expectAllRefused(await box.tamper(['.envrc', 'ops/later']), 20);
  expect(existsSync(path.join(box.workspace, 'ops/later'))).toBe(false);
  expectRecorded(box);
});
