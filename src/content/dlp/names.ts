import { dataInName } from '../../net/label-entropy.ts';
import { MultiMatch } from '../../net/multi-match.ts';
import { secretVariants } from '../../net/secret-variants.ts';
import type { KnownValue } from './engine.ts';
import { LETTERS } from './letters.ts';

/** Letters of a slice that gives a secret away: 16 bytes of it. */
const SLICE_LETTERS: readonly (readonly [spelling: RegExp, letters: number])[] = [
  [/^hex$/, 32],
  [/^base32-lower\+/, 26],
  [/^base64(url)?\+/, 22],
  [/^raw$/, 16],
];
/** Parts of longer values (files, certificates) also stand in ordinary paths. */
const SECRET_MAX = 256;
/** A value with these is an address or a document; pieces of it are names that everybody uses. */
const STRUCTURED = /[\s:.@{}"'<>]/;
/** Text of this length that comes out of a label by chance: once in a million labels. */
const TEXT_LEAST = 12;

interface Chunk {
  readonly known: KnownValue;
  readonly text: string;
  /** Where the chunk begins in `text`. */
  readonly at: number;
  readonly least: number;
}

/**
 * Finds slices of known values in names, where case is lost. Each value is cut into chunks of half the least slice: every slice holds
 * a whole one, and the letters round it tell how long the slice is.
 */
export class SliceIndex {
  readonly #matcher: MultiMatch;
  readonly #chunks: readonly Chunk[];

  constructor(known: readonly KnownValue[]) {
    this.#chunks = known.flatMap(chunksOf);
    this.#matcher = new MultiMatch(
      this.#chunks.map(({ text, at, least }) => Buffer.from(text.slice(at, at + half(least)), 'latin1')),
    );
  }

  /** The value of which 16 bytes or more stand in the text, in any case. */
  find(text: string): KnownValue | undefined {
    if (this.#chunks.length === 0) return undefined;
    const lower = text.toLowerCase();
    let found: KnownValue | undefined;
    this.#matcher.step(this.#matcher.start(), Buffer.from(lower, 'latin1'), 0, ({ pattern, end }) => {
      const chunk = this.#chunks[pattern];
      if (chunk !== undefined && sliceAt(lower, end - half(chunk.least), chunk) >= chunk.least)
        found = chunk.known;
      return found !== undefined;
    });
    return found;
  }
}

const half = (least: number): number => Math.floor((least + 1) / 2);

function chunksOf(known: KnownValue): Chunk[] {
  const raw = Buffer.from(known.bytes).toString('latin1');
  if (known.bytes.length > SECRET_MAX || STRUCTURED.test(raw)) return [];
  return secretVariants(known.bytes).flatMap(({ spelling, bytes }) => {
    const row = SLICE_LETTERS.find(([pattern]) => pattern.test(spelling));
    if (row === undefined) return [];
    const text = Buffer.from(bytes).toString('latin1').toLowerCase();
    const least = Math.min(row[1], text.length);
    const count = Math.floor(text.length / half(least));
    return Array.from({ length: count }, (_, i) => ({ known, text, at: i * half(least), least }));
  });
}

/** How many letters agree round a chunk that was found at `at`. */
function sliceAt(found: string, at: number, { text, at: own, least }: Chunk): number {
  let before = 0;
  while (before < own && found[at - before - 1] === text[own - before - 1]) before++;
  let behind = half(least);
  while (own + behind < text.length && found[at + behind] === text[own + behind]) behind++;
  return before + behind;
}

/** Why a canonical host looks like a carrier of data; undefined when it does not. */
export function dataInHost(host: string): string | undefined {
  const labels = host.split('.');
  // The last two are bought, not made up for one request.
  const free = labels.slice(0, -2);
  if (free.length === 0) return undefined;
  const word = [...free, free.join('')].find((label) => holdsText(label.replaceAll('-', '')));
  return word === undefined ? dataInName(free.join('.')) : 'text written in hex or base32';
}

/** True for hex or base32 of plain text. */
function holdsText(label: string): boolean {
  const decoded = [
    /^[0-9a-f]+$/.test(label) ? Buffer.from(label, 'hex') : undefined,
    /^[a-z2-7]+$/.test(label) ? fromBase32(label) : undefined,
  ];
  return decoded.some(
    (bytes) => bytes !== undefined && bytes.length >= TEXT_LEAST && bytes.every((b) => b >= 0x20 && b < 0x7f),
  );
}

/** RFC 4648 §6 without padding, lower case. */
function fromBase32(label: string): Buffer {
  const bytes: number[] = [];
  let held = 0;
  let bits = 0;
  for (const letter of label.toUpperCase()) {
    held = ((held << 5) | LETTERS.base32.indexOf(letter)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((held >>> bits) & 0xff);
  }
  return Buffer.from(bytes);
}
