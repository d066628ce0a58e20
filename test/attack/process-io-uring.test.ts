// Queues operations past the system-call filter. Source: io_uring_setup(2); CVE-2024-0582; the reason Google switched it off.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('io_uring is refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('setup', lambda: syscall('io_uring_setup', 8, ctypes.create_string_buffer(120)))
`);
  expectRefused(result, ['setup'], ['EPERM', 'ENOSYS']);
  expectRecorded(box);
});
