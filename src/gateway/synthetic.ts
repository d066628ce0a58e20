import { numberToQuad, parseIp, quadToNumber } from '../net/ip.ts';

interface Pool {
  readonly base: number;
  readonly size: number;
}

const POOLS: Readonly<Record<'benchmark' | 'loopback', Pool>> = {
  /** 198.18.0.0/15 (RFC 2544): never routed, so a leak of such an address reaches nobody. */
  benchmark: { base: quadToNumber([198, 18, 0, 0]), size: 2 ** 17 },
  /** The upper half of 127/8: local without any route; 127.0.0.1 and its neighbours stay the sandbox's own. */
  loopback: { base: quadToNumber([127, 128, 0, 0]), size: 2 ** 23 },
};

/**
 * Names and their synthetic addresses. An address belongs to one name for the life of the sandbox and is never given to another:
 * a program that kept an old address must not reach a new name. So the pool only grows, up to `max`.
 */
export class SyntheticNames {
  readonly #pool: Pool;
  readonly #max: number;
  readonly #byName = new Map<string, string>();
  readonly #byAddress = new Map<string, string>();
  #next = 0;

  constructor(kind: 'benchmark' | 'loopback', max: number) {
    this.#pool = POOLS[kind];
    this.#max = max;
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  /** The address of a name, given out now if need be; undefined when the pool is used up. */
  addressOf(name: string): string | undefined {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#byName.size >= this.#max) return undefined;
    const address = numberToQuad(this.#pool.base + this.#nextOffset());
    this.#byName.set(name, address);
    this.#byAddress.set(address, name);
    return address;
  }

  /** The name that an address was given to. */
  nameOf(address: string): string | undefined {
    return this.#byAddress.get(address);
  }

  /** True for every address of the pool, given out or not. */
  covers(address: string): boolean {
    const ip = parseIp(address);
    if (ip?.version !== 4) return false;
    const offset = quadToNumber(ip.bytes) - this.#pool.base;
    return offset >= 0 && offset < this.#pool.size;
  }

  /** Last octets 0 and 255 are skipped: some stacks take them for network and broadcast addresses. */
  #nextOffset(): number {
    do this.#next++;
    while (this.#next % 256 === 0 || this.#next % 256 === 255);
    return this.#next;
  }
}
