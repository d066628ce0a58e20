// Opens disks, memory and the kernel log, and makes device nodes. Source: mknod(2); raw disk access reads every file of the host.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('devices of the host cannot be opened or made', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for name in ('sda', 'vda', 'mem', 'port', 'kmsg', 'kvm', 'fuse', 'net/tun', 'loop-control', 'mapper/control', 'vsock', 'input/event0', 'uinput', 'tty1', 'console'):
    attempt(name, lambda: os.close(os.open('/dev/' + name, os.O_RDONLY)))
import stat
for place in ('node', '/tmp/node', '/dev/node', '/dev/shm/node'):
    attempt('mknod ' + place, lambda: os.mknod(place, 0o666 | stat.S_IFCHR, os.makedev(1, 1)))
    attempt('mkblk ' + place, lambda: os.mknod(place, 0o666 | stat.S_IFBLK, os.makedev(8, 0)))
`);
  expectRefused(
    result,
    ['sda', 'vda', 'mem', 'port', 'kmsg', 'kvm', 'fuse', 'net/tun', 'loop-control', 'vsock', 'tty1'],
    ['ENOENT'],
  );
  expectRefused(result, ['mknod node', 'mkblk node', 'mknod /tmp/node', 'mkblk /dev/shm/node'], ['EPERM']);
  expect(existsSync(path.join(box.workspace, 'node'))).toBe(false);
  expectRecorded(box);
});
