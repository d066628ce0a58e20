// Takes memory with many processes, each under a limit of one process. Source: RLIMIT_DATA is per process; a fork doubles it.
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier, leastMemory } from '../support/attack.ts';

forEachTier('the memory limit holds for the whole sandbox', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
for number in range(8):
    if os.fork() == 0:
        held = bytearray(b'x') * (64 << 20)
        print('held', flush=True)
        signal.pause()
time.sleep(5)
`,
    { flags: ['--memory', leastMemory(tier)] },
  );
  expect(result.stdout.split('held').length - 1).toBeLessThan(3);
  expectEvent(box, 'limit.hit', { limit: 'memory' });
});
