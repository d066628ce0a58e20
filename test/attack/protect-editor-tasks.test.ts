// Plants editor tasks that run when the folder opens. Source: VS Code tasks with runOn folderOpen; CVE-2025-53773.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

const NAMES = ['.vscode/tasks.json', '.vscode/settings.json', '.idea/workspace.xml'];

forEachTier('editor settings: present ones cannot be changed', async (tier) => {
  using box = new AttackBox(tier);
  for (const name of NAMES) box.plant(name, box.workspace);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.map((name) => box.read(name))).toEqual(NAMES.map(() => `${box.canary}\n`));
  expectRecorded(box);
});

forEachTier('editor settings: absent ones stay absent, and nothing is left', async (tier) => {
  using box = new AttackBox(tier);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.filter((name) => existsSync(path.join(box.workspace, name)))).toEqual([]);
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
