// Plants shell start-up files in the workspace, run where it is a home directory. Source: bash(1) INVOCATION; srt protects the same names.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

const NAMES = ['.bashrc', '.bash_profile', '.profile', '.zshrc', '.zprofile'];

forEachTier('shell start-up files: present ones cannot be changed', async (tier) => {
  using box = new AttackBox(tier);
  for (const name of NAMES) box.plant(name, box.workspace);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.map((name) => box.read(name))).toEqual(NAMES.map(() => `${box.canary}\n`));
  expectRecorded(box);
});

forEachTier('shell start-up files: absent ones stay absent, and nothing is left', async (tier) => {
  using box = new AttackBox(tier);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.filter((name) => existsSync(path.join(box.workspace, name)))).toEqual([]);
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
