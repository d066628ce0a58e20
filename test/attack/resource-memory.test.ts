// Takes memory until something breaks. Source: OOM of the host is a denial of service for everyone on it.
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier, leastMemory, outcomes } from '../support/attack.ts';

forEachTier('a command cannot take more memory than its limit, or the run is refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
held, taken = [], 0
try:
    while taken < 512:
        held.append(bytearray(b'x') * (8 << 20)); taken += 8
        print(f'taken={taken}', flush=True)
except MemoryError: pass
report('end', taken)
`,
    { flags: ['--memory', leastMemory(tier)] },
  );
  const most = Number(outcomes(result)['taken'] ?? 0);
  expect(most, result.stderr).toBeLessThan(160);
  expect(most).toBeGreaterThan(0);
  if (result.code === 137) {
    expect(result.stderr).toMatch(/memory/);
    expectEvent(box, 'limit.hit', { limit: 'memory' });
  }
});
