import { GloveboxError } from '../base/errors.ts';
import type { CodeLanguage } from './code/contract.ts';
import type { SandboxOptions } from './options.ts';
import type { Sandbox } from './sandbox.ts';

/** What may differ between sandboxes of one pool; everything else is in their plan. */
export type TakeOptions = Pick<SandboxOptions, 'metadata' | 'timeoutMs'>;

export interface PoolOptions {
  /** What each is made from. Its workspace is a temporary one unless it names another, which all of them then share. */
  readonly sandbox: Omit<SandboxOptions, 'name' | 'metadata' | 'signal' | 'publish'>;
  /** Sandboxes kept ready; default 2. */
  readonly size?: number;
  /** Sandboxes at once, ready and taken; default 32. */
  readonly max?: number;
  /** Interpreters that are started ahead in each. */
  readonly languages?: readonly CodeLanguage[];
  /** A ready one is replaced when it gets this old, in milliseconds; default 5 minutes. */
  readonly maxIdleMs?: number;
  /** None is started ahead while less memory than this is available, in bytes; default 512 MiB. */
  readonly reserveBytes?: number;
}

/** A sandbox that was started ahead. */
export interface PoolMember {
  readonly sandbox: Sandbox;
  /** Whether a sandbox made at this moment would have the same plan. */
  isCurrent(): Promise<boolean>;
  /** It begins its life now. */
  adopt(options: TakeOptions): Promise<void>;
}

export interface PoolParts {
  /** Starts one. */
  readonly start: () => Promise<PoolMember>;
  /** Memory that can be had, in bytes. */
  readonly available: () => number;
}

const DEFAULTS = { size: 2, max: 32, maxIdleMs: 5 * 60_000, reserveBytes: 512 * 1024 * 1024 } as const;

/** Whoever has just got a sandbox needs the processors first. In ms. */
const REFILL_MS = 100;

/** Between attempts to start one ahead when the last one failed or memory was short, in ms: doubled each time. */
const RETRY_MS = { first: 500, most: 30_000 } as const;

/**
 * Sandboxes that are started before anybody asks. Each is handed out once and never comes back; one whose plan would be another by
 * now, because a policy or a file has changed, is not handed out at all.
 */
export class SandboxPool implements AsyncDisposable {
  readonly #parts: PoolParts;
  readonly #options: Required<Pick<PoolOptions, keyof typeof DEFAULTS>>;
  readonly #ready: { readonly member: PoolMember; readonly timer: NodeJS.Timeout }[] = [];
  readonly #taken = new Set<PoolMember>();
  #starting = 0;
  #retryMs: number = RETRY_MS.first;
  #retry: NodeJS.Timeout | undefined;
  #filling: Promise<void> | undefined;
  #closed = false;

  constructor(options: Omit<PoolOptions, 'sandbox' | 'languages'>, parts: PoolParts) {
    this.#parts = parts;
    this.#options = {
      size: options.size ?? DEFAULTS.size,
      max: options.max ?? DEFAULTS.max,
      maxIdleMs: options.maxIdleMs ?? DEFAULTS.maxIdleMs,
      reserveBytes: options.reserveBytes ?? DEFAULTS.reserveBytes,
    };
    const { size, max } = this.#options;
    if (!isCount(size) || !isCount(max) || max < 1 || size > max) {
      throw new GloveboxError('E_USAGE', {
        what: `a pool cannot have a size of ${size} and a most of ${max}`,
      });
    }
    this.#fill();
  }

  /** How many are ready, and how many are out. */
  get counts(): { readonly ready: number; readonly taken: number } {
    return { ready: this.#ready.length, taken: this.#taken.size };
  }

  /** Resolves when as many are ready as shall be, or starting one ahead has failed for now. */
  async filled(): Promise<void> {
    this.#fill();
    await this.#filling;
  }

  /**
   * One that is ready, else one that is started for this. It is the caller's from here on.
   *
   * @throws E_LIMIT_EXCEEDED when `max` are out, and what `Sandbox.create` throws
   */
  async take(options: TakeOptions = {}): Promise<Sandbox> {
    this.#refuseClosed();
    if (this.#taken.size + this.#starting >= this.#options.max) {
      throw new GloveboxError('E_LIMIT_EXCEEDED', {
        what: `${this.#options.max} sandboxes of this pool are out`,
        next: 'Kill one that is done, or make the pool with a greater `max`.',
      });
    }
    this.#starting += 1;
    try {
      const member = (await this.#nextReady()) ?? (await this.#parts.start());
      await this.#handOut(member, options);
      return member.sandbox;
    } finally {
      this.#starting -= 1;
      this.#later(REFILL_MS);
    }
  }

  /** Ends those that are ready. Those that were taken are their callers' own. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#filling;
    await Promise.all(this.#ready.splice(0).map((entry) => dismiss(entry)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #nextReady(): Promise<PoolMember | undefined> {
    for (;;) {
      const entry = this.#ready.shift();
      if (entry === undefined) return undefined;
      clearTimeout(entry.timer);
      const fit = (await entry.member.isCurrent()) && (await entry.member.sandbox.isRunning());
      if (fit) return entry.member;
      void entry.member.sandbox.kill();
    }
  }

  async #handOut(member: PoolMember, options: TakeOptions): Promise<void> {
    try {
      this.#refuseClosed();
      await member.adopt(options);
    } catch (error) {
      await member.sandbox.kill();
      throw error;
    }
    this.#taken.add(member);
    void this.#whenClosed(member, () => {
      this.#taken.delete(member);
      this.#fill();
    });
  }

  async #whenClosed({ sandbox }: PoolMember, then: () => void): Promise<void> {
    await sandbox.closed;
    then();
  }

  /** Starts what is missing, one after another: those that wait for a sandbox need the processors more. */
  #fill(): void {
    if (this.#filling !== undefined || this.#closed) return;
    this.#filling = this.#fillNow().finally(() => {
      this.#filling = undefined;
    });
  }

  async #fillNow(): Promise<void> {
    const { size, max, reserveBytes } = this.#options;
    while (!this.#closed && this.#ready.length < size) {
      if (this.#ready.length + this.#taken.size + this.#starting >= max) return;
      if (this.#parts.available() < reserveBytes) return this.#again();
      try {
        this.#keep(await this.#parts.start());
        this.#retryMs = RETRY_MS.first;
      } catch {
        // Whoever takes one now gets the error from a start of its own.
        return this.#again();
      }
    }
  }

  #again(): void {
    this.#later(this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MS.most);
  }

  #later(ms: number): void {
    if (this.#closed) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#fill(), ms);
    this.#retry.unref();
  }

  #keep(member: PoolMember): void {
    const timer = setTimeout(() => {
      this.#drop(member);
      this.#fill();
    }, this.#options.maxIdleMs);
    timer.unref();
    this.#ready.push({ member, timer });
    // One that ends by itself may have a reason that the next one has too: that one waits.
    void this.#whenClosed(member, () => this.#drop(member) && this.#again());
  }

  /** One that is too old, or that ended by itself; false when it is not among those that are ready. */
  #drop(member: PoolMember): boolean {
    const at = this.#ready.findIndex((entry) => entry.member === member);
    if (at < 0 || this.#closed) return false;
    const [entry] = this.#ready.splice(at, 1);
    if (entry !== undefined) void dismiss(entry);
    return true;
  }

  #refuseClosed(): void {
    if (this.#closed) throw new GloveboxError('E_SANDBOX_CLOSED', { what: 'the pool is closed' });
  }
}

async function dismiss(entry: {
  readonly member: PoolMember;
  readonly timer: NodeJS.Timeout;
}): Promise<void> {
  clearTimeout(entry.timer);
  await entry.member.sandbox.kill();
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
