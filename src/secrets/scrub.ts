import { MultiMatch } from '../net/multi-match.ts';
import { secretVariants } from '../net/secret-variants.ts';
import type { RawHeaders } from '../net/http-head.ts';
import type { Scrubber } from './contract.ts';

/** A secret and what stands for it in a reply. */
export interface Scrubbed {
  readonly secret: Uint8Array;
  readonly placeholder: string;
}

/** What a reader sees where the placeholder does not fit. */
const REDACTED = '[redacted]';

/** Headers whose value is a token of the protocol's own, never an echo; scrubbing them could only break framing. */
const KEPT: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding', 'connection']);

interface Pattern {
  readonly bytes: Uint8Array;
  /** As long as `bytes`: lengths that were announced, and frames inside the body, stay right. */
  readonly replacement: Uint8Array;
}

/** The spellings of some secrets, ready to be looked for; shared by the replies of a host. */
export class ScrubTable {
  readonly match: MultiMatch;
  readonly #patterns: readonly Pattern[];
  /** Patterns by their first byte. */
  readonly #byFirst: readonly (readonly Uint8Array[])[];
  /** 1 for two bytes that some pattern begins with: nearly every position is settled by this alone. */
  readonly #pairs = new Uint8Array(65_536);

  constructor(scrubbed: readonly Scrubbed[]) {
    this.#patterns = scrubbed.flatMap(patternsOf);
    this.match = new MultiMatch(this.#patterns.map(({ bytes }) => bytes));
    const byFirst: Uint8Array[][] = Array.from({ length: 256 }, () => []);
    for (const { bytes } of this.#patterns) {
      byFirst[bytes[0] ?? 0]?.push(bytes);
      this.#pairs[((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)] = 1;
    }
    this.#byFirst = byFirst;
  }

  pattern(index: number): Pattern | undefined {
    return this.#patterns[index];
  }

  /**
   * How many of the last bytes could still become a pattern; 0 when none. Ordinary text has none or a few, so that a stream of events is
   * not held up by the length of the longest spelling.
   */
  openBytes(tail: Uint8Array): number {
    for (let at = Math.max(0, tail.length - this.match.longest + 1); at < tail.length; at++) {
      const first = tail[at] ?? 0;
      if (at + 1 < tail.length && this.#pairs[(first << 8) | (tail[at + 1] ?? 0)] === 0) continue;
      const candidates = this.#byFirst[first] ?? [];
      if (candidates.some((bytes) => startsAt(bytes, tail, at))) return tail.length - at;
    }
    return 0;
  }
}

interface Hit {
  /** Absolute offsets. */
  readonly start: number;
  readonly end: number;
  readonly replacement: Uint8Array;
}

/** Takes secrets out of one reply. Lengths never change. */
export class ReplyScrubber implements Scrubber {
  readonly partsPass: boolean;
  readonly #table: ScrubTable;
  #state: number;
  /** Bytes that are not out yet, and the absolute offset of the first. */
  #pending: Buffer = Buffer.alloc(0);
  #base = 0;
  /** The last bytes that are out, as they came: a spelling may have begun among them. */
  #history: Buffer = Buffer.alloc(0);
  #hits: Hit[] = [];

  constructor(table: ScrubTable, partsPass = false) {
    this.partsPass = partsPass;
    this.#table = table;
    this.#state = table.match.start();
  }

  headers(headers: RawHeaders): string[] {
    const out: string[] = [];
    for (let i = 0; i + 1 < headers.length; i += 2) {
      const name = headers[i] ?? '';
      const value = headers[i + 1] ?? '';
      // A secret in a name: what stands for it need not be a name, so the line goes.
      if (this.#scrubbed(name) !== name) continue;
      out.push(name, KEPT.has(name.toLowerCase()) ? value : this.#scrubbed(value));
    }
    return out;
  }

  #scrubbed(text: string): string {
    const scrubber = new ReplyScrubber(this.#table);
    const first = scrubber.update(Buffer.from(text, 'latin1'));
    return Buffer.concat([first, scrubber.end()]).toString('latin1');
  }

  update(chunk: Uint8Array): Uint8Array {
    const at = this.#base + this.#pending.length;
    this.#state = this.#table.match.step(this.#state, chunk, at, ({ pattern, end }) => {
      const found = this.#table.pattern(pattern);
      if (found === undefined) return;
      this.#hits.push({ start: end - found.bytes.length, end, replacement: found.replacement });
    });
    this.#pending =
      this.#pending.length === 0
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
        : Buffer.concat([this.#pending, chunk]);
    const reach = Math.max(0, this.#table.match.longest - 1);
    const tail = Buffer.concat([this.#history, this.#pending.subarray(-reach)]);
    return this.#take(Math.max(0, this.#pending.length - this.#table.openBytes(tail.subarray(-reach))));
  }

  end(): Uint8Array {
    return this.#take(this.#pending.length);
  }

  /** The first `length` pending bytes and the rest of what begins among them, what was found in them replaced. */
  #take(length: number): Uint8Array {
    const hits = this.#hits.sort((a, b) => a.start - b.start || b.end - a.end);
    let reach = length;
    for (const { start, end } of hits)
      if (start - this.#base < reach) reach = Math.max(reach, end - this.#base);
    const whole = this.#pending.subarray(0, reach);
    // The caller's own bytes may be in there: they are copied only where something is written over them.
    const out = hits.length === 0 ? whole : Buffer.from(whole);
    this.#remember(whole);
    let done = 0;
    for (const { start, end, replacement } of hits) {
      const from = start - this.#base;
      const to = end - this.#base;
      if (from >= reach) break;
      if (from >= done) out.set(replacement, from);
      // It overlaps what is replaced already: the rest of it goes too.
      else out.fill('*', done, Math.max(done, to));
      done = Math.max(done, to);
    }
    this.#pending = this.#pending.subarray(reach);
    this.#base += reach;
    this.#hits = hits.filter(({ end }) => end > this.#base);
    return out;
  }

  #remember(out: Buffer): void {
    const keep = Math.max(0, this.#table.match.longest - 1);
    const all = out.length >= keep ? out : Buffer.concat([this.#history, out]);
    this.#history = Buffer.from(all.subarray(Math.max(0, all.length - keep)));
  }
}

function patternsOf({ secret, placeholder }: Scrubbed): Pattern[] {
  const spelled = new Map(
    secretVariants(Buffer.from(placeholder)).map(({ spelling, bytes }) => [spelling, bytes]),
  );
  return secretVariants(secret).map(({ spelling, bytes }) => {
    const same = spelled.get(spelling);
    return { bytes, replacement: same?.length === bytes.length ? same : redacted(bytes.length) };
  });
}

function redacted(length: number): Uint8Array {
  return Buffer.from(length < REDACTED.length ? '*'.repeat(length) : REDACTED.padEnd(length, '*'));
}

function startsAt(pattern: Uint8Array, data: Uint8Array, at: number): boolean {
  if (pattern.length <= data.length - at) return false;
  for (let i = at; i < data.length; i++) if (data[i] !== pattern[i - at]) return false;
  return true;
}
