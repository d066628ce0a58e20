// Follows a link of the repository to a file outside. Source: CVE-2025-53109/53110 (MCP filesystem server, symlink escape).
import { readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('links to the outside lead nowhere, old and new ones', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('outside/secret.txt');
  symlinkSync(secret, path.join(box.workspace, 'old'));
  symlinkSync('../../outside', path.join(box.workspace, 'dir'));
  const result = await box.python(`
os.symlink('${secret}', 'new')
for name in ('old', 'new', 'dir/secret.txt'):
    attempt('read ' + name, lambda: read_file(name))
    attempt('write ' + name, lambda: write_file(name))
`);
  expectRefused(result, ['read old', 'read new', 'read dir/secret.txt'], ['ENOENT', 'EACCES']);
  expectRefused(result, ['write dir/secret.txt', 'write old'], ['ENOENT', 'EROFS', 'EACCES']);
  expectUnseen(result, box.canary);
  expect(readFileSync(secret, 'utf8')).toBe(`${box.canary}\n`);
  expectRecorded(box);
});
