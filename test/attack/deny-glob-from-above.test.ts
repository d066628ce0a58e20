// A deny pattern whose directory lies above the workspace, or behind a link, still hides. Source: a review of the pattern walk, which compared real paths with the pattern as written.
import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier(
  'a deny pattern from above the workspace, or through a link, hides what it matches',
  async (tier) => {
    using box = new AttackBox(tier);
    box.plant('real/key.pem', box.workspace);
    symlinkSync('real', path.join(box.workspace, 'link'));
    for (const pattern of ['/**/*.pem', `${path.dirname(box.workspace)}/**/*.pem`, 'link/*', '**/*.pem']) {
      const result = await box.sh('cat real/key.pem link/key.pem; echo done', { flags: ['--deny', pattern] });
      expectUnseen(result, box.canary);
    }
    expectRecorded(box);
  },
);
