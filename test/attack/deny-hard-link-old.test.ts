// Reads a denied file by another name it has already. Source: srt writes through hard links that exist (its documentation).
import { linkSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a hard link that exists does not open a denied file', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('.env', box.workspace);
  box.write('docs/readme.txt', 'x');
  linkSync(secret, path.join(box.workspace, 'docs/notes.txt'));
  const result = await box.python(
    `attempt('read', lambda: read_file('docs/notes.txt')); attempt('write', lambda: write_file('docs/notes.txt'))`,
    { flags: ['--deny', '.env'] },
  );
  expectRefused(result, ['read', 'write'], ['EACCES', 'EPERM', 'EROFS', 'EISDIR']);
  expectUnseen(result, box.canary);
  expect(readFileSync(secret, 'utf8')).toBe(`${box.canary}\n`);
  expectRecorded(box);
});
