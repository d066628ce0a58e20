/** One line of a comparison: kept, removed from the old text, or added by the new one. */
export interface LineEdit {
  readonly kind: ' ' | '-' | '+';
  readonly text: string;
}

/**
 * The shortest edit from one list of lines to another (Myers 1986, the greedy algorithm). Undefined when it has more than `most` removals and
 * additions: the work grows with their square.
 */
export function editLines(
  before: readonly string[],
  after: readonly string[],
  most: number,
): readonly LineEdit[] | undefined {
  const start = commonPrefix(before, after);
  const end = commonSuffix(before, after, start);
  const a = before.slice(start, before.length - end);
  const b = after.slice(start, after.length - end);
  const middle = shortest(a, b, most);
  if (middle === undefined) return undefined;
  const kept = (text: string): LineEdit => ({ kind: ' ', text });
  return [...before.slice(0, start).map(kept), ...middle, ...before.slice(before.length - end).map(kept)];
}

function commonPrefix(a: readonly string[], b: readonly string[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}

function commonSuffix(a: readonly string[], b: readonly string[], from: number): number {
  let n = 0;
  while (n < a.length - from && n < b.length - from && a[a.length - 1 - n] === b[b.length - 1 - n]) n++;
  return n;
}

/** `furthest[k]` is how far into `a` the best path on diagonal `k` (index in `a` less index in `b`) has come. */
function shortest(a: readonly string[], b: readonly string[], most: number): readonly LineEdit[] | undefined {
  const trace: Map<number, number>[] = [];
  const furthest = new Map<number, number>([[1, 0]]);
  for (let d = 0; d <= Math.min(most, a.length + b.length); d++) {
    trace.push(new Map(furthest));
    for (let k = -d; k <= d; k += 2) {
      let x = goesDown(furthest, k, d) ? (furthest.get(k + 1) ?? 0) : (furthest.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest.set(k, x);
      if (x >= a.length && x - k >= b.length) return walkBack(a, b, trace);
    }
  }
  return undefined;
}

const goesDown = (furthest: ReadonlyMap<number, number>, k: number, d: number): boolean =>
  k === -d || (k !== d && (furthest.get(k - 1) ?? -1) < (furthest.get(k + 1) ?? -1));

function walkBack(
  a: readonly string[],
  b: readonly string[],
  trace: readonly ReadonlyMap<number, number>[],
): readonly LineEdit[] {
  const edits: LineEdit[] = [];
  let x = a.length;
  let y = b.length;
  for (let d = trace.length - 1; d >= 0; d--) {
    const furthest = trace[d] ?? new Map<number, number>();
    const k = x - y;
    const from = goesDown(furthest, k, d) ? k + 1 : k - 1;
    const fromX = furthest.get(from) ?? 0;
    const fromY = fromX - from;
    while (x > fromX && y > fromY && x > 0 && y > 0) {
      edits.push({ kind: ' ', text: a[--x] ?? '' });
      y--;
    }
    if (d === 0) break;
    if (x === fromX) edits.push({ kind: '+', text: b[--y] ?? '' });
    else edits.push({ kind: '-', text: a[--x] ?? '' });
  }
  return edits.reverse();
}
