import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** Compares in a time that tells nothing about where two values differ, nor about their lengths. */
export class ConstantTime {
  readonly #key = randomBytes(32);

  same(a: string | Uint8Array, b: string | Uint8Array): boolean {
    return timingSafeEqual(this.#digest(a), this.#digest(b));
  }

  /**
   * A table that texts can be looked up in without a hint of how near they came: a row of another length is stood in for by the text
   * itself, so the time depends on the text's own length and the number of rows alone. Quicker than `same`; each request asks it.
   */
  table<T>(values: Iterable<readonly [string, T]>): (text: string) => T | undefined {
    const rows = [...values].map(([value, what]) => [Buffer.from(value), what] as const);
    return (text) => {
      const bytes = Buffer.from(text);
      let found: T | undefined;
      for (const [other, what] of rows) {
        const comparable = other.length === bytes.length;
        if (timingSafeEqual(comparable ? other : bytes, bytes) && comparable) found = what;
      }
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
