// Loads a program into the kernel. Source: bpf(2); CVE-2021-3490, CVE-2022-23222 and dozens more.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('bpf is refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('map', lambda: syscall('bpf', 0, struct.pack('IIII', 2, 4, 8, 1) + bytes(112), 128))
attempt('load', lambda: syscall('bpf', 5, bytes(128), 128))
`);
  expectRefused(result, ['map', 'load'], ['EPERM']);
  expectRecorded(box);
});
