// Reads a denied file through another visible path of the same directory. Source: bind-mount aliases; rules that hold names, not files.
import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a denied file is denied under every path it is visible at', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('conf/.env', box.workspace);
  box.write('conf/open.txt', 'open\n');
  mkdirSync(path.join(box.base, 'other'));
  const alias = path.join(box.base, 'other/alias');
  symlinkSync(path.join(box.workspace, 'conf'), alias);
  const result = await box.python(
    `
attempt('alias', lambda: read_file('${alias}/.env'))
attempt('direct', lambda: read_file('conf/.env'))
report('open', read_file('${alias}/open.txt').decode().strip())
`,
    { flags: ['--deny', 'conf/.env', '--read', alias] },
  );
  expectRefused(result, ['alias', 'direct'], ['EACCES', 'EPERM', 'ENOENT', 'EISDIR']);
  expectRefused(result, ['open'], ['open']);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
