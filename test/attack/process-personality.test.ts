// Switches address randomisation and execute protection rules for foreign systems. Source: personality(2), READ_IMPLIES_EXEC.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('foreign personalities are refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
for name, value in (('read-implies-exec', 0x400000), ('linux32', 0x8), ('uname26', 0x20000), ('sparc', 0x0b), ('mmap-zero', 0x100000)): attempt(name, lambda: syscall('personality', value))
`);
  expectRefused(result, ['read-implies-exec', 'linux32', 'uname26', 'sparc', 'mmap-zero'], ['EPERM']);
  expectRecorded(box);
});
