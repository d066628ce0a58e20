// Makes its own end slow: much memory in files and processes, for the kernel to free while the launcher cleans. Source: exit_files() runs long after the last answer.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('a sandbox that dies slowly leaves nothing either', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
with open('/dev/shm/fill', 'wb') as file:
    for _ in range(120): file.write(bytes(1 << 20))
held = bytearray(b'x') * (100 << 20)
for _ in range(20):
    if os.fork() == 0: signal.pause()
os._exit(0)
`);
  expect([result.code, result.stderr]).toEqual([0, '']);
  expect(box.listing()).toEqual([]);
  expect(box.records().some((record) => record.kind === 'files.appeared')).toBe(false);
  expectRecorded(box);
});
