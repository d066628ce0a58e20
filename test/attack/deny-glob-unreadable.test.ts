// A run makes a directory unlistable, so that the next run's deny pattern cannot find what is in it. Source: a review; chmod(2) is the owner's.
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a directory that cannot be searched for a deny pattern is hidden whole', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('keys/a.pem', box.workspace);
  await box.sh('chmod 000 keys', { flags: ['--deny', '**/*.pem'] });
  const result = await box.sh('chmod 755 keys; cat keys/a.pem; echo done', { flags: ['--deny', '**/*.pem'] });
  chmodSync(path.join(box.workspace, 'keys'), 0o755);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
