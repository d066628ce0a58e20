import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HUNG_LOOKS, Watchdog } from './watchdog.ts';

const INTERVAL = 1000;

/** A guest whose answers are in the test's hand. */
function guest(answers: boolean): {
  readonly channel: PassThrough;
  readonly seen: { pings: number; hung: number };
  readonly dog: Watchdog;
} {
  const channel = new PassThrough();
  const seen = { pings: 0, hung: 0 };
  const dog = new Watchdog({
    channel,
    intervalMs: INTERVAL,
    onHung: () => (seen.hung += 1),
    ping: async () => {
      seen.pings += 1;
      if (!answers) return new Promise<void>(() => undefined);
      channel.write('pong');
    },
  });
  return { channel, seen, dog };
}

describe('Watchdog', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('asks a silent guest and leaves one alone that answers', async () => {
    const { seen, dog } = guest(true);
    await vi.advanceTimersByTimeAsync(INTERVAL * 50);
    expect(seen.hung).toBe(0);
    expect(seen.pings).toBeGreaterThan(10);
    dog[Symbol.dispose]();
  });

  it('ends one that does not answer, once', async () => {
    const { seen } = guest(false);
    await vi.advanceTimersByTimeAsync(INTERVAL * HUNG_LOOKS);
    expect(seen).toEqual({ pings: 1, hung: 0 });
    await vi.advanceTimersByTimeAsync(INTERVAL * 50);
    expect(seen).toEqual({ pings: 1, hung: 1 });
  });

  it('does not ask a guest that talks', async () => {
    const { channel, seen, dog } = guest(false);
    for (let turn = 0; turn < 50; turn++) {
      channel.write('output');
      await vi.advanceTimersByTimeAsync(INTERVAL);
    }
    expect(seen).toEqual({ pings: 0, hung: 0 });
    dog[Symbol.dispose]();
  });

  it('neither asks nor ends while paused, and begins anew afterwards', async () => {
    const { seen, dog } = guest(false);
    await vi.advanceTimersByTimeAsync(INTERVAL * HUNG_LOOKS);
    dog.pause();
    await vi.advanceTimersByTimeAsync(INTERVAL * 100);
    expect(seen).toEqual({ pings: 1, hung: 0 });
    expect(vi.getTimerCount()).toBe(0);
    dog.resume();
    await vi.advanceTimersByTimeAsync(INTERVAL * HUNG_LOOKS);
    expect(seen.hung).toBe(0);
    await vi.advanceTimersByTimeAsync(INTERVAL);
    expect(seen.hung).toBe(1);
  });
});
