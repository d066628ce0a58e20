// A file in a denied directory has a second name outside it. Source: link(2); a mount over the directory does not reach the other name.
import { linkSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('the second name of a file in a denied directory is denied too', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('secrets/key', box.workspace);
  mkdirSync(path.join(box.workspace, 'pub'));
  linkSync(secret, path.join(box.workspace, 'pub/innocent'));
  const result = await box.sh('cat pub/innocent; echo M >> pub/innocent; echo done', {
    flags: ['--deny', 'secrets'],
  });
  expectUnseen(result, box.canary);
  expect(box.read('secrets/key')).not.toContain('M\n');
  expectRecorded(box);
});
