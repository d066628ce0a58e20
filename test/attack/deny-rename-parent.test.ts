// Moves a parent directory of a denied file aside, so that the rule's path no longer fits. Source: srt pins parents for it; rename(2) EBUSY.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  expectUnseen,
  forEachTier,
  inGuest,
} from '../support/attack.ts';

forEachTier('parents of a denied file cannot be moved', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('app/conf/.env', box.workspace);
  const result = await box.python(
    `
attempt('conf', lambda: os.rename('app/conf', 'app/conf2'))
attempt('app', lambda: os.rename('app', 'app2'))
attempt('workspace', lambda: os.rename(os.getcwd(), os.getcwd() + '2'))
os.mkdir('swap')
attempt('exchange', lambda: libc.renameat2(-100, b'app', -100, b'swap', 2) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
for name in ('app/conf/.env', 'app/conf2/.env', 'app2/conf/.env', 'swap/conf/.env'): attempt('read ' + name, lambda: read_file(name))
`,
    { flags: ['--deny', 'app/conf/.env'] },
  );
  expectRefused(
    result,
    ['conf', 'app', 'workspace', 'exchange'],
    // gVisor has no exchange of two names.
    ['EBUSY', 'EROFS', 'EACCES', 'EPERM', 'EXDEV', ...inGuest(tier, 'EINVAL')],
  );
  expectRefused(
    result,
    ['read app/conf/.env', 'read app2/conf/.env', 'read swap/conf/.env'],
    ['EACCES', 'EPERM', 'ENOENT', 'EISDIR'],
  );
  expectUnseen(result, box.canary);
  expect(existsSync(path.join(box.workspace, 'app/conf/.env'))).toBe(true);
  expectRecorded(box);
});
