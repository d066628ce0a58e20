import { FoldedNames } from './folded-names.ts';
import { foldCase } from './http-path-case.ts';
import { scanJson } from './json-scan.ts';
import type { JsonResult, JsonValue } from './json-scan.ts';

/** `$.a.b`, `$.a[*].b`, `$..b`, compiled. */
export interface JsonSelector {
  readonly text: string;
  readonly steps: readonly JsonStep[];
}

export type JsonStep =
  /** A member of this name, folded. */
  | { readonly kind: 'member'; readonly name: string }
  /** Every member or element. */
  | { readonly kind: 'each' }
  /** A member of this name, folded, at any depth. */
  | { readonly kind: 'deep'; readonly name: string };

export type JsonSelectorResult =
  | { readonly ok: true; readonly selector: JsonSelector }
  | { readonly ok: false; readonly why: string };

/** Called for every value at a place that `selectors[index]` names. */
export type JsonHit = (index: number, value: JsonValue) => void;

const SELECTOR_CHARS_MAX = 512;
const STEPS_MAX = 128;

/** Reads a selector: `.name`, `..name` and `[*]` after `$`. Names are letters, digits, "_", "-" and "$". */
export function parseJsonSelector(text: string): JsonSelectorResult {
  if (text.length > SELECTOR_CHARS_MAX) return no(`a selector over ${SELECTOR_CHARS_MAX} characters`);
  if (!/^\$(?:\.{1,2}[\p{L}\p{N}_$-]+|\[\*\])+$/u.test(text))
    return no('a selector is written `$.a.b`, `$.a[*].b` or `$..b`');
  const steps: JsonStep[] = [];
  for (const [step, dots, name = ''] of text.matchAll(/\[\*\]|(\.{1,2})([\p{L}\p{N}_$-]+)/gu))
    steps.push(
      step === '[*]' ? { kind: 'each' } : { kind: dots === '.' ? 'member' : 'deep', name: foldCase(name) },
    );
  return steps.length > STEPS_MAX
    ? no(`a selector over ${STEPS_MAX} steps`)
    : { ok: true, selector: { text, steps } };
}

/**
 * Reads a document strictly and reports what stands at the selectors. Names compare without case, as some parsers do (Go's
 * encoding/json). Time is linear in the document for given selectors.
 */
export function selectJson(
  bytes: Uint8Array,
  selectors: readonly JsonSelector[],
  onHit: JsonHit,
): JsonResult {
  const automaton = new Automaton(selectors);
  return scanJson(bytes, automaton.start, {
    value: (place, value) => {
      for (const index of place.hits) onHit(index, value);
    },
    member: (place, name) => automaton.next(place, name),
    element: (place) => automaton.next(place, OTHER),
    wants: (place) => place.hits.length > 0,
  });
}

/** Stands for every name that no selector has, and for the elements of a list. */
const OTHER = '';

/** Waits at a place for `steps[step]` of a selector; `step` past the last one: the place itself is named. */
interface State {
  readonly selector: number;
  readonly step: number;
}

/** A set of states: what is known at a place. */
interface Place {
  readonly states: readonly State[];
  /** Selectors that name this very place. */
  readonly hits: readonly number[];
  /** By folded name; absent: not looked at yet. */
  readonly next: Map<string, Place | undefined>;
}

/** All selectors as one automaton, its sets of states made when they are first met, each once. */
class Automaton {
  readonly start: Place;
  readonly #selectors: readonly JsonSelector[];
  readonly #names: FoldedNames;
  readonly #places = new Map<string, Place>();

  constructor(selectors: readonly JsonSelector[]) {
    this.#selectors = selectors;
    const steps = selectors.flatMap((selector) => selector.steps);
    this.#names = new FoldedNames(steps.flatMap((step) => (step.kind === 'each' ? [] : [step.name])));
    this.start = this.#place(selectors.map((_, selector) => ({ selector, step: 0 })));
  }

  /** What is known one level below; undefined: nothing there is of interest. */
  next(place: Place, name: string): Place | undefined {
    const known = name === OTHER ? OTHER : (this.#names.find(name) ?? OTHER);
    const reached = place.next.get(known);
    if (reached !== undefined || place.next.has(known)) return reached;
    const states = this.#step(place.states, known);
    const next = states.length === 0 ? undefined : this.#place(states);
    place.next.set(known, next);
    return next;
  }

  #step(states: readonly State[], name: string): State[] {
    const next = new Map<string, State>();
    const add = (selector: number, step: number): unknown =>
      next.set(`${selector}.${step}`, { selector, step });
    for (const { selector, step } of states) {
      const wanted = this.#selectors[selector]?.steps[step];
      if (wanted === undefined) continue;
      if (wanted.kind === 'deep') add(selector, step);
      if (wanted.kind === 'each' || wanted.name === name) add(selector, step + 1);
    }
    return [...next.values()].sort((a, b) => a.selector - b.selector || a.step - b.step);
  }

  #place(states: readonly State[]): Place {
    const key = states.map(({ selector, step }) => `${selector}.${step}`).join(' ');
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    const ended = states.filter(({ selector, step }) => step === this.#selectors[selector]?.steps.length);
    const place = {
      states,
      hits: ended.map(({ selector }) => selector),
      next: new Map<string, Place | undefined>(),
    };
    this.#places.set(key, place);
    return place;
  }
}

function no(why: string): JsonSelectorResult {
  return { ok: false, why };
}
