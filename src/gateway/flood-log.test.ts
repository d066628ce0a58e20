import { afterEach, describe, expect, it, vi } from 'vitest';
import { FloodLog } from './flood-log.ts';

interface Item {
  readonly rule: string;
  readonly bytes: number;
  readonly repeats?: number;
}

const LIMITS = { recordBurst: 2, recordsPerSecond: 1, foldKeys: 2, foldMs: 1_000 };

function log(): { flood: FloodLog<Item>; seen: (Item & { repeats?: number })[]; clock: { at: number } } {
  const seen: (Item & { repeats?: number })[] = [];
  const clock = { at: 0 };
  const folding = {
    key: (item: Item): string => item.rule,
    group: (item: Item): string => item.rule.charAt(0),
    merge: (held: Item, next: Item): Item => ({ ...held, bytes: held.bytes + next.bytes }),
  };
  const flood = new FloodLog<Item>(
    (item) => seen.push(item),
    folding,
    LIMITS,
    () => clock.at,
  );
  return { flood, seen, clock };
}

describe('FloodLog', () => {
  afterEach(() => void vi.useRealTimers());

  it('passes records one by one while there are few', () => {
    const { flood, seen, clock } = log();
    for (let i = 0; i < 5; i++) {
      flood.record({ rule: 'a', bytes: i });
      clock.at += 1_000;
    }
    expect(seen).toHaveLength(5);
  });

  it('folds like ones together beyond that, and loses none', () => {
    const { flood, seen } = log();
    for (let i = 0; i < 10; i++) flood.record({ rule: i % 2 === 0 ? 'a' : 'b', bytes: 1 });
    expect(seen).toHaveLength(2);
    flood.flush();
    expect(seen.slice(2)).toEqual([
      { rule: 'a', bytes: 4, repeats: 3 },
      { rule: 'b', bytes: 4, repeats: 3 },
    ]);
    const count = seen.reduce((sum, item) => sum + 1 + (item.repeats ?? 0), 0);
    expect(count).toBe(10);
  });

  it('holds a bounded number of kinds', () => {
    const { flood, seen } = log();
    for (let i = 0; i < 1_000; i++) flood.record({ rule: `r${i}`, bytes: 1 });
    flood.flush();
    // Two by themselves, two kinds, and the rest of their group.
    expect(seen).toHaveLength(5);
    expect(seen.reduce((sum, item) => sum + item.bytes, 0)).toBe(1_000);
  });

  it('keeps groups apart when there are too many kinds', () => {
    const { flood, seen } = log();
    for (let i = 0; i < 1_000; i++) flood.record({ rule: `r${i}`, bytes: 1 });
    flood.record({ rule: 'other', bytes: 7 });
    flood.flush();
    expect(seen.at(-1)).toEqual({ rule: 'other', bytes: 7 });
  });

  it('counts what already stands for several', () => {
    const { flood, seen } = log();
    for (let i = 0; i < 2; i++) flood.record({ rule: 'a', bytes: 1 });
    for (let i = 0; i < 2; i++) flood.record({ rule: 'a', bytes: 1, repeats: 4 });
    flood.flush();
    expect(seen.at(-1)).toEqual({ rule: 'a', bytes: 2, repeats: 9 });
  });

  it('records what it holds by itself after a while', () => {
    vi.useFakeTimers();
    const { flood, seen } = log();
    for (let i = 0; i < 3; i++) flood.record({ rule: 'a', bytes: 1 });
    expect(seen).toHaveLength(2);
    vi.advanceTimersByTime(1_001);
    expect(seen).toHaveLength(3);
  });
});
