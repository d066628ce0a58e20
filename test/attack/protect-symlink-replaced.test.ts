// Replaces a protected link, or the file it leads to. Source: links in dotfile repositories (.envrc -> ops/envrc).
import { lstatSync, readlinkSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('a protected link is held in place, and so is its target', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('ops/envrc', box.workspace);
  const link = path.join(box.workspace, '.envrc');
  symlinkSync('ops/envrc', link);
  expectAllRefused(await box.tamper(['.envrc', 'ops/envrc']), 20);
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readlinkSync(link)).toBe('ops/envrc');
  expect(box.read('ops/envrc')).toBe(`${box.canary}\n`);
  expectRecorded(box);
});
