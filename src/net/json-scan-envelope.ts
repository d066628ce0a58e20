import { FoldedNames } from './folded-names.ts';
import { scanJson } from './json-scan.ts';
import type { JsonValue, JsonVisitor } from './json-scan.ts';

/** The wanted members of one message, by their dotted names (`method`, `params.name`). */
export interface Envelope {
  readonly values: ReadonlyMap<string, JsonValue>;
  /** True when the message has a member at its top that nobody asked for. */
  readonly others: boolean;
  /** Wanted members that are objects and have a member that nobody asked for. */
  readonly othersIn: ReadonlySet<string>;
}

export type EnvelopeResult =
  | { readonly ok: true; readonly batch: boolean; readonly envelopes: readonly Envelope[] }
  | { readonly ok: false; readonly why: string };

/** Messages in one batch. */
export const BATCH_MAX = 100;

type Place =
  | { readonly kind: 'root' }
  /** A message of a batch. */
  | { readonly kind: 'message'; readonly into: Draft }
  /** A wanted member. */
  | { readonly kind: 'wanted'; readonly name: string; readonly into: Draft };

interface Draft {
  readonly values: Map<string, JsonValue>;
  others: boolean;
  readonly othersIn: Set<string>;
}

/**
 * Reads one JSON object, or an array of them, and keeps the wanted members. A member whose name differs from a wanted one in case only is
 * a problem: some parsers take it for that one (Go's encoding/json), and a judge that does not would look at the wrong value.
 */
export function readEnvelopes(bytes: Uint8Array, wanted: readonly string[]): EnvelopeResult {
  const visitor = new EnvelopeVisitor(wanted);
  const scan = scanJson<Place>(bytes, { kind: 'root' }, visitor);
  if (!scan.ok) return scan;
  if (visitor.problem !== undefined) return { ok: false, why: visitor.problem };
  return { ok: true, batch: visitor.batch, envelopes: visitor.drafts };
}

class EnvelopeVisitor implements JsonVisitor<Place> {
  readonly drafts: Draft[] = [];
  batch = false;
  problem: string | undefined;
  readonly #wanted: ReadonlySet<string>;
  readonly #folded: FoldedNames;

  constructor(wanted: readonly string[]) {
    this.#wanted = new Set(wanted);
    this.#folded = new FoldedNames(wanted);
  }

  value(place: Place, value: JsonValue): void {
    if (place.kind === 'wanted') place.into.values.set(place.name, value);
    else if (place.kind === 'message' && value.kind !== 'object')
      this.problem ??= 'a batch of something other than objects';
    else if (place.kind === 'root' && value.kind === 'array') this.batch = true;
    else if (place.kind === 'root' && value.kind === 'object') this.#draft();
    else if (place.kind === 'root') this.problem ??= 'JSON that is neither an object nor a list';
  }

  member(place: Place, name: string): Place | undefined {
    const into = place.kind === 'root' ? this.drafts[0] : place.into;
    if (into === undefined) return undefined;
    const prefix = place.kind === 'wanted' ? `${place.name}.` : '';
    const full = prefix + name;
    // A dot in a name must not make it look like a nested one.
    if (this.#wanted.has(full) && !name.includes('.')) return { kind: 'wanted', name: full, into };
    if (this.#folded.find(full) !== undefined)
      this.problem ??= 'a name that differs from one that is judged in case only';
    if (place.kind === 'wanted') into.othersIn.add(place.name);
    else into.others = true;
    return undefined;
  }

  element(place: Place): Place | undefined {
    if (place.kind !== 'root') return undefined;
    if (this.drafts.length >= BATCH_MAX) {
      this.problem ??= `a batch of over ${BATCH_MAX}`;
      return undefined;
    }
    return { kind: 'message', into: this.#draft() };
  }

  #draft(): Draft {
    const draft: Draft = { values: new Map(), others: false, othersIn: new Set() };
    this.drafts.push(draft);
    return draft;
  }
}
