// Leaves debris: after a run the workspace must look as before. Source: srt leaves placeholder files on the host for the length of a run.
import { readdirSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('a run leaves nothing of its own in the workspace', async (tier) => {
  using box = new AttackBox(tier);
  box.write('src/main.c');
  const before = new Set(readdirSync(box.workspace, { recursive: true, encoding: 'utf8' }));
  await box.sh('true', { flags: ['--deny', 'a/b/c/.env', '--deny', 'secret'] });
  await box.sh('exit 7');
  await box.sh('kill -9 $$');
  await box.run(['/nonexistent']);
  expect(new Set(readdirSync(box.workspace, { recursive: true, encoding: 'utf8' }))).toEqual(before);
  expectRecorded(box);
});
