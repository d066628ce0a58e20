import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Deadline, type DeadlineInput } from './deadline.ts';

interface Made {
  readonly deadline: Deadline;
  readonly over: string[];
  readonly persisted: (number | undefined)[];
  busy: boolean;
}

function make(input: Partial<DeadlineInput>): Made {
  const over: string[] = [];
  const persisted: (number | undefined)[] = [];
  const state = { busy: false };
  const deadline = new Deadline({
    busy: () => state.busy,
    over: (why) => over.push(why),
    persist: (endAt) => persisted.push(endAt),
    ...input,
  });
  return Object.assign(state, { deadline, over, persisted });
}

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('the end of a sandbox', () => {
  it('comes at its time, once', () => {
    const { over, persisted } = make({ ttlMs: 1000 });
    expect(persisted).toEqual([Date.now() + 1000]);
    vi.advanceTimersByTime(999);
    expect(over).toEqual([]);
    vi.advanceTimersByTime(5000);
    expect(over).toEqual(['ttl']);
  });

  it('moves with a renewal, forth and back, and the old one no longer counts', () => {
    const { deadline, over } = make({ ttlMs: 1000 });
    vi.advanceTimersByTime(900);
    deadline.renew(1000);
    vi.advanceTimersByTime(999);
    expect(over).toEqual([]);
    deadline.renew(10);
    vi.advanceTimersByTime(10);
    expect(over).toEqual(['ttl']);
  });

  it('cannot be renewed when it has come', () => {
    const { deadline } = make({ ttlMs: 1000 });
    vi.advanceTimersByTime(1000);
    expect(() => deadline.renew(1000)).toThrow(expect.objectContaining({ code: 'E_SANDBOX_CLOSED' }));
  });

  it('never passes what the policy allows, counted from the start', () => {
    const { deadline, over } = make({ ttlMs: 5000, mostMs: 2000 });
    vi.advanceTimersByTime(1500);
    for (const ms of [0, 501, 60_000])
      expect(() => deadline.renew(ms)).toThrow(expect.objectContaining({ code: 'E_LIMIT_EXCEEDED' }));
    deadline.renew(500);
    vi.advanceTimersByTime(500);
    expect(over).toEqual(['ttl']);
  });

  it('is taken away by 0, and waits longer than a timer can', () => {
    const { deadline, over, persisted } = make({ ttlMs: 1000 });
    deadline.renew(0);
    expect(persisted.at(-1)).toBeUndefined();
    expect(deadline.endAt).toBeUndefined();
    vi.advanceTimersByTime(10_000);
    deadline.renew(2 ** 31 + 5000);
    vi.advanceTimersByTime(2 ** 31);
    expect(over).toEqual([]);
    vi.advanceTimersByTime(5000);
    expect(over).toEqual(['ttl']);
  });

  it.each([Number.NaN, -1, Number.POSITIVE_INFINITY])('%s is no time', (ms) => {
    expect(() => make({}).deadline.renew(ms)).toThrow(expect.objectContaining({ code: 'E_USAGE' }));
  });
});

describe('idleness', () => {
  it('ends a sandbox that nobody uses', () => {
    const { over } = make({ idleMs: 1000 });
    vi.advanceTimersByTime(1000);
    expect(over).toEqual(['idle']);
  });

  it('starts anew with each use, and waits while something runs', () => {
    const made = make({ idleMs: 1000 });
    vi.advanceTimersByTime(900);
    made.deadline.touch();
    vi.advanceTimersByTime(900);
    made.busy = true;
    vi.advanceTimersByTime(5000);
    expect(made.over).toEqual([]);
    made.busy = false;
    vi.advanceTimersByTime(2000);
    expect(made.over).toEqual(['idle']);
  });
});
