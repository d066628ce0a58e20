// Stops the kernel in the middle of a copy. Source: userfaultfd(2), the tool of most race exploits.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('userfaultfd is refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('call', lambda: syscall('userfaultfd', 1))
attempt('device', lambda: os.close(os.open('/dev/userfaultfd', os.O_RDWR)))
`);
  expectRefused(result, ['call', 'device'], ['EPERM', 'ENOENT']);
  expectRecorded(box);
});
