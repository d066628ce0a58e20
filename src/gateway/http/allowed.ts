import type { Entry, HttpScope } from '../core.ts';
import type { Allowed } from '../decide.ts';

/** A proxy connection that names more destinations than this is recorded request by request. */
const RECORDED_MAX = 64;

/** Records "allowed" once for each connection, destination and address, not for each request. */
export class AllowedOnce {
  readonly #record: (entry: Entry, target: Allowed, address: string | undefined) => void;
  readonly #recorded = new WeakMap<HttpScope, Set<string>>();

  constructor(record: (entry: Entry, target: Allowed, address: string | undefined) => void) {
    this.#record = record;
  }

  /** `address` is undefined when it did not come to a connection. */
  note(scope: HttpScope, target: Allowed, address: string | undefined): void {
    const recorded = this.#recordedOn(scope);
    const place = `${target.host} ${target.port}`;
    const key = address === undefined ? place : `${place} ${address}`;
    if (recorded.has(key)) return;
    if (recorded.size < RECORDED_MAX) recorded.add(key).add(place);
    this.#record(scope.entry, target, address);
  }

  #recordedOn(scope: HttpScope): Set<string> {
    const known = this.#recorded.get(scope);
    if (known !== undefined) return known;
    const recorded = new Set<string>();
    this.#recorded.set(scope, recorded);
    return recorded;
  }
}
