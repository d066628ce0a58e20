// The deny rule names a link; the attack reads what it leads to. Source: deny rules that bind the link and leave the target open.
import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a rule on a link, or through a linked directory, covers the real file', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('real/.env', box.workspace);
  box.plant('real/deep/key.pem', box.workspace);
  symlinkSync('real/.env', path.join(box.workspace, '.env'));
  symlinkSync('real/deep', path.join(box.workspace, 'keys'));
  const result = await box.python(
    `for name in ('.env', 'real/.env', 'keys/key.pem', 'real/deep/key.pem'): attempt(name, lambda: read_file(name))`,
    { flags: ['--deny', '.env', '--deny', 'keys/key.pem'] },
  );
  expectRefused(
    result,
    ['.env', 'real/.env', 'keys/key.pem', 'real/deep/key.pem'],
    ['EACCES', 'EPERM', 'ENOENT', 'EISDIR'],
  );
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
