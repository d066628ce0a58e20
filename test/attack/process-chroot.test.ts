// Leaves by chroot and pivot_root. Source: chroot(2): "a process can use a second chroot to escape".
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('the root directory cannot be changed', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
os.makedirs('/tmp/jail')
attempt('chroot', lambda: os.chroot('/tmp/jail'))
attempt('pivot_root', lambda: syscall('pivot_root', b'/tmp/jail', b'/tmp/jail'))
`);
  expectRefused(result, ['chroot', 'pivot_root'], ['EPERM']);
  expectRecorded(box);
});
