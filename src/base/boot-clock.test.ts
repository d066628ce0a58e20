import { describe, expect, it } from 'vitest';
import { bootMoment, msUntil } from './boot-clock.ts';

describe('moments since boot', () => {
  it('lie ahead, then behind', () => {
    expect(msUntil(bootMoment(60_000))).toBeGreaterThan(50_000);
    expect(msUntil(bootMoment(-60_000))).toBeLessThan(-50_000);
  });

  it('of another boot are over', () => {
    expect(msUntil({ boot: 'another', ms: Number.MAX_SAFE_INTEGER })).toBe(Number.NEGATIVE_INFINITY);
  });
});
