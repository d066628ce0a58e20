// A sandbox swaps the parent of another's placeholder for a link, so that its cleaning works outside. Source: CVE-2018-15664; rule "the host never follows a path that the sandbox controls".
import { existsSync, mkdirSync, chmodSync, lstatSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, outcomes } from '../support/attack.ts';

forEachTier('cleaning follows no link out of the workspace', async (tier) => {
  using box = new AttackBox(tier);
  const outside = path.join(box.base, 'outside');
  const bait = path.join(outside, 'down/.env');
  mkdirSync(bait, { recursive: true });
  const run = box.start(['cat'], { flags: ['--deny', 'deep/down/.env'] });
  run.tell('ready');
  await run.said('ready');
  // The bait looks exactly like a placeholder.
  for (const [copy, of] of [
    [bait, 'deep/down/.env'],
    [path.dirname(bait), 'deep/down'],
  ] as const) {
    chmodSync(copy, lstatSync(path.join(box.workspace, of)).mode & 0o7777);
  }
  const other = await box.python(`
attempt('rename', lambda: os.rename('deep', 'moved'))
attempt('link', lambda: os.symlink('${outside}', 'deep'))
`);
  expect(Object.keys(outcomes(other))).toHaveLength(2);
  await run.finish();
  await box.sh('true');
  expect(existsSync(bait)).toBe(true);
  chmodSync(path.dirname(bait), 0o755);
  expectRecorded(box);
});
