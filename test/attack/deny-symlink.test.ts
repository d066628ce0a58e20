// Reads a denied file through symbolic links, old ones and new ones. Source: srt issue reports; path_resolution(7).
import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('links to a denied file do not open it', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('conf/.env', box.workspace);
  symlinkSync('conf/.env', path.join(box.workspace, 'old'));
  const result = await box.python(
    `
os.symlink('conf/.env', 'new'); os.symlink('conf', 'parent')
for name in ('old', 'new', 'parent/.env', 'conf/../conf/.env', 'conf//.env'): attempt(name, lambda: read_file(name))
`,
    { flags: ['--deny', 'conf/.env'] },
  );
  expectRefused(
    result,
    ['old', 'new', 'parent/.env', 'conf/../conf/.env', 'conf//.env'],
    ['EACCES', 'EPERM', 'EROFS', 'EBUSY', 'EISDIR'],
  );
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
