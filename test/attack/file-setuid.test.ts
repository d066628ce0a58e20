// Leaves a set-user-ID program in the workspace for a user of the host to run. Source: chmod(2); the file is owned by the caller, root where root ran it.
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier, inGuest } from '../support/attack.ts';

forEachTier('no way to set the set-user-ID bit', async (tier) => {
  using box = new AttackBox(tier);
  box.write('tool', '#!/bin/sh\nid\n');
  const result = await box.python(`
attempt('chmod', lambda: os.chmod('tool', 0o4755))
attempt('setgid', lambda: os.chmod('tool', 0o2755))
attempt('fchmod', lambda: os.fchmod(os.open('tool', os.O_RDONLY), 0o6755))
attempt('fchmodat2', lambda: syscall('fchmodat2', -100, b'tool', 0o4755, 0))
os.umask(0)
attempt('open', lambda: os.close(os.open('fresh', os.O_WRONLY | os.O_CREAT, 0o4755)))
attempt('mknod', lambda: os.mknod('node', 0o104755))
attempt('capability', lambda: os.setxattr('tool', 'security.capability', bytes.fromhex('0100000200200000000000000000000000000000')))
`);
  expectRefused(
    result,
    ['chmod', 'setgid', 'fchmod', 'fchmodat2', 'open', 'mknod', 'capability'],
    ['EPERM', 'ENOSYS', 'EACCES', ...inGuest(tier, 'ENOTSUP')],
  );
  const modes = readdirSync(box.workspace).map(
    (name) => statSync(path.join(box.workspace, name)).mode & 0o6000,
  );
  expect(modes.filter((mode) => mode !== 0)).toEqual([]);
  expectRecorded(box);
});
