// Plants hooks and permissions in the settings of coding agents. Source: CVE-2025-59536; CVE-2026-21852.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

const NAMES = [
  '.claude/settings.json',
  '.claude/settings.local.json',
  '.codex/config.toml',
  '.gemini/settings.json',
  '.cursor/rules/x.mdc',
];

forEachTier('agent settings: present ones cannot be changed', async (tier) => {
  using box = new AttackBox(tier);
  for (const name of NAMES) box.plant(name, box.workspace);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.map((name) => box.read(name))).toEqual(NAMES.map(() => `${box.canary}\n`));
  expectRecorded(box);
});

forEachTier('agent settings: absent ones stay absent, and nothing is left', async (tier) => {
  using box = new AttackBox(tier);
  expectAllRefused(await box.tamper(NAMES), NAMES.length * 10);
  expect(NAMES.filter((name) => existsSync(path.join(box.workspace, name)))).toEqual([]);
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
