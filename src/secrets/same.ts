import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** Compares in a time that tells nothing about where two values differ, nor about their lengths. */
export class ConstantTime {
  readonly #key = randomBytes(32);

  same(a: string | Uint8Array, b: string | Uint8Array): boolean {
    return timingSafeEqual(this.#digest(a), this.#digest(b));
  }

  /** A table that texts can be looked up in without a hint of how near they came. */
  table<T>(values: Iterable<readonly [string, T]>): (text: string) => T | undefined {
    const rows = [...values].map(([value, what]) => [this.#digest(value), what] as const);
    return (text) => {
      const digest = this.#digest(text);
      let found: T | undefined;
      for (const [other, what] of rows) if (timingSafeEqual(digest, other)) found = what;
      return found;
    };
  }

  #digest(value: string | Uint8Array): Buffer {
    return createHmac('sha256', this.#key).update(value).digest();
  }
}

/** How a foreign value is recorded: the same one can be told again, the value cannot be learnt. 16 hex digits of HMAC-SHA256. */
export function foreignHash(key: Uint8Array, value: string): string {
  return createHmac('sha256', key).update(value, 'latin1').digest('hex').slice(0, 16);
}
