// Plants hooks of a hook manager. Source: husky and pre-commit run what these name at the next commit.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

const NAMES = ['.husky/pre-commit', '.pre-commit-config.yaml'];

forEachTier('hook managers: present ones cannot be changed', async (tier) => {
  using box = new AttackBox(tier);
  for (const name of NAMES) box.plant(name, box.workspace);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.map((name) => box.read(name))).toEqual(NAMES.map(() => `${box.canary}\n`));
  expectRecorded(box);
});

forEachTier('hook managers: absent ones stay absent, and nothing is left', async (tier) => {
  using box = new AttackBox(tier);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.filter((name) => existsSync(path.join(box.workspace, name)))).toEqual([]);
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
