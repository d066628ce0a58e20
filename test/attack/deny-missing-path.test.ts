// Creates a denied path that did not exist when the run began. Source: srt leaves empty files on the host for it (FACTS of its Linux driver).
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('a denied path stays absent', async (tier) => {
  using box = new AttackBox(tier);
  box.write('readme.txt');
  const names = ['.env.local', 'deploy/keys/prod.json'];
  const result = await box.tamper(names, { flags: names.flatMap((name) => ['--deny', name]) });
  const seen = result.stdout.split('\n').filter((line) => line.includes('=OK'));
  expect(seen).toEqual([]);
  expectAllRefused(result, 20);
  expect(names.filter((name) => existsSync(path.join(box.workspace, name)))).toEqual([]);
  expect(box.listing()).toEqual(['readme.txt']);
  expectRecorded(box);
});
