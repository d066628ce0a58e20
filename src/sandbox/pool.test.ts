import { afterEach, describe, expect, it, vi } from 'vitest';
import { SandboxPool, type PoolMember, type PoolOptions } from './pool.ts';
import type { Sandbox } from './sandbox.ts';

/** Sandboxes as far as a pool looks at them. */
class Makers {
  readonly made: Fake[] = [];
  readonly available: () => number;
  /** Starts fail while this says so. */
  failing = false;
  memory = 1e12;

  constructor() {
    this.available = () => this.memory;
  }

  readonly start = async (): Promise<PoolMember> => {
    await Promise.resolve();
    if (this.failing) throw new Error('no');
    const fake = new Fake();
    this.made.push(fake);
    return fake.member;
  };

  pool(options: Omit<PoolOptions, 'sandbox' | 'languages'> = {}): SandboxPool {
    return new SandboxPool(options, { start: this.start, available: this.available });
  }
}

class Fake {
  current = true;
  alive = true;
  readonly adopted: unknown[] = [];
  readonly member: PoolMember;
  #end: () => void = () => undefined;

  constructor() {
    const closed = new Promise<undefined>((resolve) => {
      this.#end = () => {
        this.alive = false;
        resolve(undefined);
      };
    });
    const sandbox = { closed, kill: async () => this.#end(), isRunning: async () => this.alive };
    this.member = {
      sandbox: sandbox as unknown as Sandbox,
      isCurrent: async () => this.current,
      adopt: async (options) => void this.adopted.push(options),
    };
  }

  die(): void {
    this.#end();
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

afterEach(() => vi.useRealTimers());

describe('a pool of sandboxes', () => {
  it('hands each out once, and starts another in its place', async () => {
    const makers = new Makers();
    await using pool = makers.pool({ size: 2 });
    await pool.filled();
    const [one, two] = [await pool.take({ timeoutMs: 5 }), await pool.take()];
    expect(one).not.toBe(two);
    expect(makers.made[0]?.adopted).toEqual([{ timeoutMs: 5 }]);
    await settled();
    await pool.filled();
    expect(pool.counts).toEqual({ ready: 2, taken: 2 });
    expect(makers.made).toHaveLength(4);
  });

  it('starts one for the caller when none is ready', async () => {
    const makers = new Makers();
    await using pool = makers.pool({ size: 0 });
    expect(await pool.take()).toBe(makers.made[0]?.member.sandbox);
  });

  it('never hands out one whose plan has changed, or that has died', async () => {
    const makers = new Makers();
    await using pool = makers.pool({ size: 2 });
    await pool.filled();
    for (const fake of makers.made) fake.current = false;
    const taken = await pool.take();
    expect(makers.made.slice(0, 2).map((fake) => fake.member.sandbox)).not.toContain(taken);
    expect(makers.made.slice(0, 2).every((fake) => !fake.alive)).toBe(true);
  });

  it('replaces one that ends by itself, and one that waits too long', async () => {
    const makers = new Makers();
    vi.useFakeTimers();
    const pool = makers.pool({ size: 1, maxIdleMs: 10_000 });
    await pool.filled();
    makers.made[0]?.die();
    // Not at once: it may end for a reason that stays.
    await vi.advanceTimersByTimeAsync(400);
    expect(makers.made).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(makers.made).toHaveLength(2);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(makers.made[1]?.alive).toBe(false);
    expect(makers.made).toHaveLength(3);
    await pool.close();
  });

  it('has a most, of which ready ones are a part', async () => {
    const makers = new Makers();
    await using pool = makers.pool({ size: 1, max: 2 });
    await pool.filled();
    await pool.take();
    await pool.filled();
    await pool.take();
    await expect(pool.take()).rejects.toMatchObject({ code: 'E_LIMIT_EXCEEDED' });
    makers.made[0]?.die();
    await settled();
    await expect(pool.take()).resolves.toBeDefined();
  });

  it('starts none ahead while memory is short, and tries again', async () => {
    vi.useFakeTimers();
    const makers = new Makers();
    makers.memory = 100;
    const pool = makers.pool({ size: 1, reserveBytes: 101 });
    await pool.filled();
    expect(makers.made).toHaveLength(0);
    makers.memory = 101;
    await vi.advanceTimersByTimeAsync(500);
    expect(makers.made).toHaveLength(1);
    await pool.close();
  });

  it('tells a failing start to whoever takes one, and nobody else', async () => {
    const makers = new Makers();
    makers.failing = true;
    await using pool = makers.pool({ size: 1 });
    await pool.filled();
    await expect(pool.take()).rejects.toThrow('no');
    expect(pool.counts).toEqual({ ready: 0, taken: 0 });
  });

  it('ends what is ready when it is closed, and hands out nothing more', async () => {
    const makers = new Makers();
    const pool = makers.pool({ size: 2 });
    await pool.filled();
    const taken = makers.made[0];
    await pool.take();
    await pool.close();
    expect(taken?.alive).toBe(true);
    expect(makers.made.slice(1).every((fake) => !fake.alive)).toBe(true);
    await expect(pool.take()).rejects.toMatchObject({ code: 'E_SANDBOX_CLOSED' });
  });

  it.each([[{ size: 3, max: 2 }], [{ size: -1 }], [{ max: 0, size: 0 }], [{ size: 1.5 }]])(
    '%j makes no pool',
    (options) => {
      expect(() => new Makers().pool(options)).toThrow(expect.objectContaining({ code: 'E_USAGE' }));
    },
  );
});
