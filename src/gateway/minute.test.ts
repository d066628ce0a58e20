import { expect, test } from 'vitest';
import { MinuteCount } from './minute.ts';

const LIMIT = 10;

/** Times at which a caller that tries at every one of `tries` gets through under a limit of 10 a minute. */
function admitted(tries: readonly number[]): number[] {
  const minute = new MinuteCount();
  return tries.filter((at) => {
    if (minute.count(at) >= LIMIT) return false;
    minute.add(at);
    return true;
  });
}

function mostIn60s(times: readonly number[]): number {
  return Math.max(...times.map((from) => times.filter((at) => at >= from && at < from + 60_000).length));
}

test.each([0, 1, 4_999, 5_000, 29_500, 59_999, 60_000, -7_001])(
  'no span of 60 seconds holds more than the limit, whenever the first comes: %i',
  (start) => {
    const burst = Array.from({ length: LIMIT }, () => start);
    const afterwards = Array.from({ length: 4_000 }, (_, i) => start + i * 47);
    const times = admitted([...burst, ...afterwards]);
    expect(mostIn60s(times)).toBe(LIMIT);
    // It is a limit, not a wall: each minute and a piece of one has its number.
    expect(times.length).toBeGreaterThanOrEqual(LIMIT * 2);
  },
);

test('bursts at both sides of a minute are one burst', () => {
  const burst = (at: number): number[] => Array.from({ length: LIMIT }, () => at);
  expect(admitted([0, ...burst(59_999), ...burst(60_001), ...burst(90_000)])).toHaveLength(LIMIT + 1);
});

test('a place is free again after 65 seconds at the latest', () => {
  const minute = new MinuteCount();
  minute.add(4_999);
  minute.add(5_000);
  expect(minute.count(60_000)).toBe(2);
  expect(minute.count(64_999)).toBe(2);
  expect(minute.count(65_000)).toBe(1);
  expect(minute.count(70_000)).toBe(0);
});

test('a long pause empties it, and a clock that is set back frees nothing', () => {
  const minute = new MinuteCount();
  minute.add(0);
  expect(minute.count(1e9)).toBe(0);
  minute.add(1e9);
  expect(minute.count(0)).toBe(1);
  minute.add(0);
  expect(minute.count(1e9 + 59_000)).toBe(2);
});
