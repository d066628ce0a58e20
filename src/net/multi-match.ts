/** One occurrence of a pattern. */
export interface Match {
  /** Index into the list that the automaton was made from. */
  readonly pattern: number;
  /** Absolute offset after its last byte. */
  readonly end: number;
}

/** The empty node that every byte leads to when nothing else does. */
const ROOT = 0;
const NONE = -1;
/** Set in a transition whose target completes a pattern, so that the usual byte costs one test and no further look-up. */
const HIT = 0x4000_0000;
const STATE = HIT - 1;
/** Nodes of at most this depth get a full row: ordinary text seldom leaves them. */
const FULL_DEPTH = 2;
/** Entries of full rows for depth alone (4 MiB); branching nodes get theirs in any case. */
const FULL_MAX = 1 << 20;

/** Bytes of a block by which stretches are passed over, and the bits of its hash. */
const BLOCK = 3;
const BLOCK_BITS = 15;
/** Patterns shorter than this leave little to pass over; shorter chunks are not worth it. */
const SKIP_SHORTEST = 6;
const SKIP_BYTES = 256;

/** Children as lists, while the automaton is made. */
interface Trie {
  readonly firstChild: Int32Array;
  readonly sibling: Int32Array;
  readonly byClass: Uint8Array;
  readonly depth: Int32Array;
  /** Pattern that ends here, or NONE; further equal ones hang on `MultiMatch.#same`. */
  readonly ends: Int32Array;
  size: number;
}

/**
 * Finds many byte strings at once in one pass (Aho and Corasick, 1975), also across the borders of chunks: the state is a number
 * that the caller keeps. Branching nodes and those near the root hold full rows of transitions; the long unbranched tails of
 * secrets hold one child and a link to the longest shorter beginning, so that memory grows with the bytes of the patterns.
 * Time is linear in the data and the number of matches. Where nothing has begun, whole stretches in which no pattern can begin are
 * passed over: by blocks (Wu and Manber, 1994), or by pairs of bytes where a pattern is short.
 */
export class MultiMatch {
  /** Bytes of the longest pattern; 0 when there is none. */
  readonly longest: number;
  readonly #classes = new Uint8Array(256);
  /** Log2 of the width of a row. */
  #shift = 0;
  /** States below this number have a row. */
  #rows = 0;
  #full = new Int32Array(0);
  /** For each other state: the class of its one child (or NONE), that child, and where to go on failure. */
  #onlyClass = new Int16Array(0);
  #onlyNext = new Int32Array(0);
  #fail = new Int32Array(0);
  /** The pattern that ends in a state, or NONE; the nearest shorter state where one ends. */
  #ends = new Int32Array(0);
  #shorter = new Int32Array(0);
  /** Equal patterns, chained. */
  readonly #same: Int32Array;
  /** Bytes of the shortest pattern. */
  readonly #shortest: number;
  /** By the hash of the last block of a window: how far on the next beginning may be at the soonest. Empty: not worth it. */
  readonly #skips: Uint8Array;
  /** For shorter patterns: 1 for each pair of bytes that stands at their beginning, or one byte behind it. Empty: not used. */
  readonly #pairs: Uint8Array;

  /** Throws a RangeError for an empty pattern. */
  constructor(patterns: readonly Uint8Array[]) {
    if (patterns.some((pattern) => pattern.length === 0)) throw new RangeError('an empty pattern');
    this.longest = patterns.reduce((most, pattern) => Math.max(most, pattern.length), 0);
    this.#same = new Int32Array(patterns.length).fill(NONE);
    const width = this.#chooseClasses(patterns);
    this.#shift = Math.ceil(Math.log2(Math.max(2, width)));
    this.#link(this.#plant(patterns));
    this.#shortest = Math.min(255, ...patterns.map(({ length }) => length));
    this.#skips =
      patterns.length === 0 || this.#shortest < SKIP_SHORTEST
        ? new Uint8Array(0)
        : skipsOf(patterns, this.#shortest);
    const useful = patterns.length > 0 && this.#skips.length === 0 && this.#shortest > 1;
    this.#pairs = useful ? pairsOf(patterns) : new Uint8Array(0);
  }

  /** The state before any byte. */
  start(): number {
    return ROOT;
  }

  /**
   * Feeds a chunk whose first byte is at the absolute offset `base`, and answers the state after it. Matches are told in the order
   * of their ends, longer ones first. When `onMatch` returns true the rest of the chunk is left alone.
   */
  step(state: number, chunk: Uint8Array, base: number, onMatch: (match: Match) => boolean | void): number {
    const classes = this.#classes;
    const full = this.#full;
    const shift = this.#shift;
    const rows = this.#rows;
    const skips = chunk.length >= SKIP_BYTES && this.#skips.length > 0;
    const pairs = chunk.length >= SKIP_BYTES && this.#pairs.length > 0;
    for (let i = 0; i < chunk.length; i++) {
      if (skips && state === ROOT) i = this.#passOver(chunk, i);
      else if (pairs && state === ROOT) i = this.#passPairs(chunk, i);
      if (i >= chunk.length) break;
      const letter = classes[chunk[i] ?? 0] ?? 0;
      const next = state < rows ? (full[(state << shift) | letter] ?? 0) : this.#deep(state, letter);
      state = next & STATE;
      if ((next & HIT) !== 0 && this.#tell(state, base + i + 1, onMatch)) return state;
    }
    return state;
  }

  /** The first offset from `from` on where a pattern may begin; near the end of the chunk every one. */
  #passOver(chunk: Uint8Array, from: number): number {
    const skips = this.#skips;
    const last = chunk.length - this.#shortest;
    const reach = this.#shortest - 1;
    let at = from;
    while (at <= last) {
      const end = at + reach;
      const skip = skips[blockHash(chunk[end - 2] ?? 0, chunk[end - 1] ?? 0, chunk[end] ?? 0)] ?? 0;
      if (skip === 0) return at;
      at += skip;
    }
    return at;
  }

  /** The same by every second pair: one of the first two pairs of a pattern is among them. */
  #passPairs(chunk: Uint8Array, from: number): number {
    const pairs = this.#pairs;
    const last = chunk.length - 1;
    let at = from;
    while (at < last && pairs[((chunk[at] ?? 0) << 8) | (chunk[at + 1] ?? 0)] === 0) at += 2;
    return at === from ? at : at - 1;
  }

  /** The first match to end. */
  find(data: Uint8Array): Match | undefined {
    let found: Match | undefined;
    this.step(ROOT, data, 0, (match) => {
      found = match;
      return true;
    });
    return found;
  }

  /** A step from a state without a row. Each failure is to a shallower state, so the steps are linear in all. */
  #deep(from: number, letter: number): number {
    let state = from;
    while (state >= this.#rows) {
      if (this.#onlyClass[state] === letter) return this.#flagged(this.#onlyNext[state] ?? 0);
      state = this.#fail[state] ?? 0;
    }
    return this.#full[(state << this.#shift) | letter] ?? 0;
  }

  #tell(from: number, end: number, onMatch: (match: Match) => boolean | void): boolean {
    for (let state = from; state !== NONE; state = this.#shorter[state] ?? NONE) {
      for (let pattern = this.#ends[state] ?? NONE; pattern !== NONE; pattern = this.#same[pattern] ?? NONE) {
        if (onMatch({ pattern, end }) === true) return true;
      }
    }
    return false;
  }

  /** Bytes that occur in no pattern share class 0. Answers the number of classes. */
  #chooseClasses(patterns: readonly Uint8Array[]): number {
    const used = new Uint8Array(256);
    for (const pattern of patterns) for (const byte of pattern) used[byte] = 1;
    // All 256 bytes in use: there is no byte for class 0 to stand for.
    let count = used.includes(0) ? 1 : 0;
    for (let byte = 0; byte < 256; byte++) if (used[byte] === 1) this.#classes[byte] = count++;
    return count;
  }

  #plant(patterns: readonly Uint8Array[]): Trie {
    const most = 1 + patterns.reduce((sum, pattern) => sum + pattern.length, 0);
    const trie: Trie = {
      firstChild: new Int32Array(most).fill(NONE),
      sibling: new Int32Array(most).fill(NONE),
      byClass: new Uint8Array(most),
      depth: new Int32Array(most),
      ends: new Int32Array(most).fill(NONE),
      size: 1,
    };
    patterns.forEach((pattern, index) => {
      let node = ROOT;
      for (const byte of pattern) {
        const letter = this.#classes[byte] ?? 0;
        node = childOf(trie, node, letter) ?? addChild(trie, node, letter);
      }
      this.#same[index] = trie.ends[node] ?? NONE;
      trie.ends[node] = index;
    });
    return trie;
  }

  /** Numbers the nodes, those with rows first, and fills rows and failure links in order of depth. */
  #link(trie: Trie): void {
    const order = breadthFirst(trie);
    const number = this.#number(trie, order);
    const { size } = trie;
    this.#full = new Int32Array(this.#rows << this.#shift);
    this.#onlyClass = new Int16Array(size).fill(NONE);
    this.#onlyNext = new Int32Array(size);
    this.#fail = new Int32Array(size);
    this.#ends = new Int32Array(size);
    this.#shorter = new Int32Array(size).fill(NONE);
    for (let node = 0; node < size; node++) this.#ends[number[node] ?? NONE] = trie.ends[node] ?? NONE;
    for (const node of order) this.#linkNode(trie, node, number);
  }

  /** The failure link and the shorter matches of `node` are known: its parent set them. Sets those of its children. */
  #linkNode(trie: Trie, node: number, number: Int32Array): void {
    const state = number[node] ?? 0;
    const fail = this.#fail[state] ?? 0;
    const row = state << this.#shift;
    if (state < this.#rows && state !== ROOT)
      for (let letter = 0; letter < 1 << this.#shift; letter++)
        this.#full[row | letter] = this.#next(fail, letter);
    for (let child = trie.firstChild[node] ?? NONE; child !== NONE; child = trie.sibling[child] ?? NONE) {
      const letter = trie.byClass[child] ?? 0;
      const target = number[child] ?? 0;
      const back = state === ROOT ? ROOT : this.#next(fail, letter) & STATE;
      this.#fail[target] = back;
      this.#shorter[target] = this.#ends[back] === NONE ? (this.#shorter[back] ?? NONE) : back;
      if (state < this.#rows) this.#full[row | letter] = this.#flagged(target);
      else {
        this.#onlyClass[state] = letter;
        this.#onlyNext[state] = target;
      }
    }
  }

  #next(state: number, letter: number): number {
    return state < this.#rows
      ? (this.#full[(state << this.#shift) | letter] ?? 0)
      : this.#deep(state, letter);
  }

  #flagged(state: number): number {
    const hit = this.#ends[state] !== NONE || this.#shorter[state] !== NONE;
    return hit ? state | HIT : state;
  }

  #number(trie: Trie, order: Int32Array): Int32Array {
    const number = new Int32Array(trie.size).fill(NONE);
    for (const node of order) if (this.#wantsRow(trie, node)) number[node] = this.#rows++;
    let next = this.#rows;
    for (const node of order) if (number[node] === NONE) number[node] = next++;
    return number;
  }

  #wantsRow(trie: Trie, node: number): boolean {
    const first = trie.firstChild[node] ?? NONE;
    const branches = first !== NONE && trie.sibling[first] !== NONE;
    const near = (trie.depth[node] ?? 0) <= FULL_DEPTH && this.#rows << this.#shift < FULL_MAX;
    return node === ROOT || branches || near;
  }
}

function blockHash(a: number, b: number, c: number): number {
  return ((a << 10) ^ (b << 5) ^ c) & ((1 << BLOCK_BITS) - 1);
}

/** Of every block in the first `shortest` bytes of a pattern, how many of those bytes follow it; the least where blocks share a hash. */
function skipsOf(patterns: readonly Uint8Array[], shortest: number): Uint8Array {
  const skips = new Uint8Array(1 << BLOCK_BITS).fill(shortest - BLOCK + 1);
  for (const pattern of patterns) {
    for (let end = BLOCK - 1; end < shortest; end++) {
      const hash = blockHash(pattern[end - 2] ?? 0, pattern[end - 1] ?? 0, pattern[end] ?? 0);
      skips[hash] = Math.min(skips[hash] ?? 0, shortest - 1 - end);
    }
  }
  return skips;
}

/** A pattern of two bytes has no second pair: whatever follows it will do. */
function pairsOf(patterns: readonly Uint8Array[]): Uint8Array {
  const pairs = new Uint8Array(1 << 16);
  for (const [first = 0, second = 0, third] of patterns) {
    pairs[(first << 8) | second] = 1;
    if (third === undefined) pairs.fill(1, second << 8, (second + 1) << 8);
    else pairs[(second << 8) | third] = 1;
  }
  return pairs;
}

function childOf(trie: Trie, node: number, letter: number): number | undefined {
  let child = trie.firstChild[node] ?? NONE;
  while (child !== NONE && trie.byClass[child] !== letter) child = trie.sibling[child] ?? NONE;
  return child === NONE ? undefined : child;
}

function addChild(trie: Trie, node: number, letter: number): number {
  const child = trie.size++;
  trie.byClass[child] = letter;
  trie.depth[child] = (trie.depth[node] ?? 0) + 1;
  trie.sibling[child] = trie.firstChild[node] ?? NONE;
  trie.firstChild[node] = child;
  return child;
}

function breadthFirst(trie: Trie): Int32Array {
  const order = new Int32Array(trie.size);
  let end = 1;
  for (let at = 0; at < end; at++) {
    const node = order[at] ?? 0;
    for (let child = trie.firstChild[node] ?? NONE; child !== NONE; child = trie.sibling[child] ?? NONE)
      order[end++] = child;
  }
  return order;
}
