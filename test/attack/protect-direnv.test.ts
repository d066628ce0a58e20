// Plants a file that a directory-aware tool runs on cd. Source: direnv(1), mise; poisoned repositories of 2025.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

const NAMES = ['.envrc'];

forEachTier('files run on entering the directory: present ones cannot be changed', async (tier) => {
  using box = new AttackBox(tier);
  for (const name of NAMES) box.plant(name, box.workspace);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.map((name) => box.read(name))).toEqual(NAMES.map(() => `${box.canary}\n`));
  expectRecorded(box);
});

forEachTier(
  'files run on entering the directory: absent ones stay absent, and nothing is left',
  async (tier) => {
    using box = new AttackBox(tier);
    expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
    expect(NAMES.filter((name) => existsSync(path.join(box.workspace, name)))).toEqual([]);
    expect(box.listing()).toEqual([]);
    expectRecorded(box);
  },
);
