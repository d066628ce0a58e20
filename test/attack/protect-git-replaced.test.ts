// Moves .git aside and puts a directory of its own there. Source: deny rules by path that a rename steps around (rename(2)).
import { lstatSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  forEachTier,
  inGuest,
  needsProgram,
  onHost,
} from '../support/attack.ts';

forEachTier(
  '.git itself cannot be replaced',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    const inode = lstatSync(path.join(box.workspace, '.git')).ino;
    const result = await box.python(`
import shutil
shutil.copytree('.git', 'evil'); write_file('evil/hooks/post-checkout')
attempt('move', lambda: os.rename('.git', 'aside'))
attempt('over', lambda: os.rename('evil', '.git'))
attempt('exchange', lambda: libc.renameat2(-100, b'evil', -100, b'.git', 2) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('remove', lambda: shutil.rmtree('.git'))
attempt('link', lambda: os.symlink('evil', '.git'))
`);
    expectRefused(
      result,
      ['move', 'over', 'exchange', 'remove', 'link'],
      // gVisor has no exchange of two names (EINVAL).
      ['EBUSY', 'EROFS', 'EACCES', 'EPERM', 'ENOTEMPTY', 'EEXIST', 'EXDEV', ...inGuest(tier, 'EINVAL')],
    );
    expect(lstatSync(path.join(box.workspace, '.git')).ino).toBe(inode);
    expect(box.read('.git/config')).toContain('[core]');
    expectRecorded(box);
  },
  [needsProgram('git')],
);
