// Traces the sandbox's first process to speak on its channel to the host. Source: ptrace(2); same user inside, so only walls stop it.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('pid 1 cannot be traced', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('attach', lambda: syscall('ptrace', 16, 1, 0, 0))
attempt('seize', lambda: syscall('ptrace', 0x4206, 1, 0, 0))
attempt('traceme', lambda: syscall('ptrace', 0, 0, 0, 0))
`);
  expectRefused(result, ['attach', 'seize', 'traceme'], ['EPERM']);
  expectRecorded(box);
});
