import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Deadline, type DeadlineInput, type TimeUp } from './deadline.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function deadline(input: Partial<DeadlineInput> = {}): {
  readonly deadline: Deadline;
  readonly over: TimeUp[];
  readonly persisted: (number | undefined)[];
} {
  const over: TimeUp[] = [];
  const persisted: (number | undefined)[] = [];
  const made = new Deadline({
    busy: () => false,
    over: (why) => over.push(why),
    persist: (endAt) => persisted.push(endAt),
    ...input,
  });
  return { deadline: made, over, persisted };
}

describe('a deadline', () => {
  it('is over once, at its time, and refuses a renewal from then on', () => {
    const { deadline: one, over } = deadline({ ttlMs: 1000 });
    vi.advanceTimersByTime(999);
    expect(over).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(over).toEqual(['ttl']);
    expect(() => one.renew(1000)).toThrow(expect.objectContaining({ code: 'E_SANDBOX_CLOSED' }));
    vi.advanceTimersByTime(10_000);
    expect(over).toEqual(['ttl']);
  });

  it('that was renewed forgets the old end, and tells the new one before it counts', () => {
    const { deadline: one, over, persisted } = deadline({ ttlMs: 1000 });
    const first = one.endAt;
    vi.advanceTimersByTime(999);
    one.renew(1000);
    expect(persisted).toEqual([first, one.endAt]);
    vi.advanceTimersByTime(999);
    expect(over).toEqual([]);
    one.renew(0);
    expect(persisted.at(-1)).toBeUndefined();
    expect(one.endAt).toBeUndefined();
    vi.advanceTimersByTime(100_000);
    expect(over).toEqual([]);
  });

  it('whose renewal cannot be told stays as it was', () => {
    let broken = false;
    const { deadline: one, over } = deadline({
      ttlMs: 1000,
      persist: () => {
        if (broken) throw new Error('disk full');
      },
    });
    broken = true;
    expect(() => one.renew(5000)).toThrow('disk full');
    expect(() => one.renew(0)).toThrow('disk full');
    vi.advanceTimersByTime(1000);
    expect(over).toEqual(['ttl']);
  });

  it('never passes what the policy allows', () => {
    const { deadline: one, over } = deadline({ ttlMs: 10_000, mostMs: 3000 });
    vi.advanceTimersByTime(1000);
    for (const beyond of [0, 2001, 1e9])
      expect(() => one.renew(beyond)).toThrow(expect.objectContaining({ code: 'E_LIMIT_EXCEEDED' }));
    one.renew(2000);
    vi.advanceTimersByTime(2000);
    expect(over).toEqual(['ttl']);
  });

  it.each([-1, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (ms) => {
    expect(() => deadline().deadline.renew(ms)).toThrow(expect.objectContaining({ code: 'E_USAGE' }));
  });

  it('beyond what a timer can wait does not fire at once', () => {
    const { over } = deadline({ ttlMs: 2 ** 31 + 5000 });
    vi.advanceTimersByTime(2 ** 31);
    expect(over).toEqual([]);
    vi.advanceTimersByTime(5000);
    expect(over).toEqual(['ttl']);
  });
});

describe('idleness', () => {
  it('counts from the last use, and not while something runs', () => {
    let busy = true;
    const { deadline: one, over } = deadline({ idleMs: 1000, busy: () => busy });
    vi.advanceTimersByTime(5500);
    expect(over).toEqual([]);
    busy = false;
    one.touch();
    vi.advanceTimersByTime(900);
    one.touch();
    vi.advanceTimersByTime(999);
    expect(over).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(over).toEqual(['idle']);
  });

  it('does not put the end off', () => {
    const { over } = deadline({ ttlMs: 3000, idleMs: 1000, busy: () => true });
    vi.advanceTimersByTime(3000);
    expect(over).toEqual(['ttl']);
  });

  it('is over for good when it was stopped', () => {
    const { deadline: one, over } = deadline({ ttlMs: 1000, idleMs: 500 });
    one.stop();
    vi.advanceTimersByTime(10_000);
    expect(over).toEqual([]);
  });
});
