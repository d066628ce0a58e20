import { MultiMatch } from '../net/multi-match.ts';
import { secretVariants } from '../net/secret-variants.ts';
import { percentDecode } from './places.ts';

/** What a sequence of bytes was recognised as. */
export interface Known {
  readonly kind: 'secret' | 'revoked' | 'placeholder' | 'stale';
  readonly credential: string;
  readonly field: string;
}

export interface KnownBytes {
  readonly known: Known;
  readonly bytes: Uint8Array;
}

const GRAVITY: Readonly<Record<Known['kind'], number>> = { secret: 3, revoked: 2, stale: 1, placeholder: 0 };

/** Finds secrets and placeholders in every spelling. */
export class Recognizer {
  readonly #match: MultiMatch;
  readonly #owners: readonly Known[];

  constructor(entries: readonly KnownBytes[]) {
    const patterns = entries.flatMap(({ known, bytes }) =>
      secretVariants(bytes).map((variant) => ({ known, bytes: variant.bytes })),
    );
    this.#match = new MultiMatch(patterns.map(({ bytes }) => bytes));
    this.#owners = patterns.map(({ known }) => known);
  }

  /** The gravest of what is in there; `ignore` says what may be. */
  find(data: Uint8Array, ignore: (known: Known) => boolean = () => false): Known | undefined {
    const watch = this.watch(ignore);
    watch.step(data);
    return watch.found;
  }

  /** The same for text of bytes (latin1), as it is and percent-decoded once and twice. */
  findText(text: string, ignore?: (known: Known) => boolean): Known | undefined {
    const once = percentDecode(text);
    const all = once === text ? text : `${text}\n${once}\n${percentDecode(once)}`;
    return this.find(Buffer.from(all, 'latin1'), ignore);
  }

  /** For data that comes in chunks; `found` is kept up to date. */
  watch(ignore: (known: Known) => boolean): RecognizerWatch {
    return new RecognizerWatch(this.#match, this.#owners, ignore);
  }
}

/** A search that goes on across chunks. */
export class RecognizerWatch {
  found: Known | undefined;
  readonly #match: MultiMatch;
  readonly #owners: readonly Known[];
  readonly #ignore: (known: Known) => boolean;
  #state: number;
  #base = 0;

  constructor(match: MultiMatch, owners: readonly Known[], ignore: (known: Known) => boolean) {
    this.#match = match;
    this.#owners = owners;
    this.#ignore = ignore;
    this.#state = match.start();
  }

  step(chunk: Uint8Array): void {
    this.#state = this.#match.step(this.#state, chunk, this.#base, ({ pattern }) => this.#hit(pattern));
    this.#base += chunk.length;
  }

  /** True: nothing graver can come. */
  #hit(pattern: number): boolean {
    const known = this.#owners[pattern];
    if (known === undefined || this.#ignore(known)) return false;
    if (this.found === undefined || GRAVITY[known.kind] > GRAVITY[this.found.kind]) this.found = known;
    return this.found.kind === 'secret';
  }
}
