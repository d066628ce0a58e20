// Uncovers a denied file with mount calls, old and new. Source: mount(2), fsopen(2), open_tree(2), mount_setattr(2).
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('no mount call is to be had', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('.env', box.workspace);
  const result = await box.python(
    `
here = os.getcwd().encode()
attempt('bind', lambda: syscall('mount', here, b'/tmp', None, 4096, None))
attempt('remount', lambda: syscall('mount', None, b'/usr', None, 32 | 4096, None))
attempt('tmpfs', lambda: syscall('mount', b'none', here, b'tmpfs', 0, None))
attempt('umount', lambda: syscall('umount2', here + b'/.env', 2))
attempt('open_tree', lambda: syscall('open_tree', -100, here, 1))
attempt('move_mount', lambda: syscall('move_mount', -100, here, -100, b'/tmp', 0))
attempt('fsopen', lambda: syscall('fsopen', b'tmpfs', 0))
attempt('mount_setattr', lambda: syscall('mount_setattr', -100, b'/usr', 0, struct.pack('QQQQ', 0, 1, 0, 0), 32))
attempt('read', lambda: read_file('.env'))
`,
    { flags: ['--deny', '.env'] },
  );
  expectRefused(
    result,
    ['bind', 'remount', 'tmpfs', 'umount', 'open_tree', 'move_mount', 'fsopen', 'mount_setattr'],
    ['EPERM', 'ENOSYS'],
  );
  expectRefused(result, ['read'], ['EACCES', 'EPERM', 'EISDIR']);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
