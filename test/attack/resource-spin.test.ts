// Burns the processor for ever. Source: cryptominers in CI; a limit on wall time is the least there must be.
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier, processesWith } from '../support/attack.ts';

for (const [name, command] of [
  ['spinning', 'while :; do :; done'],
  ['sleeping', 'sleep 300'],
  ['stopped', 'kill -STOP $$'],
] as const) {
  forEachTier(`a ${name} command ends at its timeout with 124`, async (tier) => {
    using box = new AttackBox(tier);
    const result = await box.sh(`: ${box.canary}; ${command}`, { flags: ['--timeout', '1s'] });
    expect(result.code).toBe(124);
    expect(result.stderr).toMatch(/time/);
    expect(processesWith(box.canary)).toEqual([]);
    expectEvent(box, 'limit.hit', { limit: 'timeout' });
  });
}
