// Changes what the user's own protect rule names. Source: build files run by the user afterwards (Makefile, package.json scripts).
import { expect } from 'vitest';
import { AttackBox, expectAllRefused, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('a protect rule of the user holds, also by glob', async (tier) => {
  using box = new AttackBox(tier);
  box.policy('version: 1\nfilesystem:\n  protect: [Makefile, "ci/*.sh", absent.mk]\n');
  box.plant('Makefile', box.workspace);
  box.plant('ci/run.sh', box.workspace);
  expectAllRefused(await box.tamper(['Makefile', 'ci/run.sh', 'absent.mk']), 30);
  expect(box.read('Makefile') + box.read('ci/run.sh')).toBe(`${box.canary}\n`.repeat(2));
  expect(box.listing()).toEqual(['Makefile', 'ci']);
  expectRecorded(box);
});
