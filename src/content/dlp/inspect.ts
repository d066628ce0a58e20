import { createHash } from 'node:crypto';
import { isContainer, isOpaque, unpack } from './containers.ts';
import type { InflateBudget, Problem } from './containers.ts';
import type { Hit } from './engine.ts';
import { undoEscapes } from './escapes.ts';
import { undoQuotedPrintable } from './quoted-printable.ts';
import { decodeRuns } from './runs.ts';
import { closeUp } from './spaced.ts';

/** What came of looking into some bytes. A hit counts more than a problem. */
export interface Outcome {
  readonly hit?: Hit;
  /** The hit is in the bytes as they are, so that its offset says where. */
  readonly plain?: boolean;
  readonly problem?: Problem;
}

export interface InspectOptions {
  readonly scan: (view: Uint8Array) => Hit | undefined;
  /** Layers that may be undone. */
  readonly depth: number;
  /** Layers that were undone before. */
  readonly undone: number;
  /** A problem ends the search: nothing that could follow changes the verdict. */
  readonly stopAtProblem: boolean;
  /** Bytes of the longest thing that is looked for, or nearly. */
  readonly around: number;
  readonly budget: InflateBudget;
}

/** Decoded text may be this many times what it was decoded from; each layer makes at most three and three quarters of one. */
const TEXT_GROWTH = 8;
const TEXT_LEAST = 64 * 1024;

interface View {
  readonly bytes: Uint8Array;
  readonly layers: number;
}

/** Looks at the bytes and at everything that can be decoded from them, layer by layer. */
export function inspect(data: Uint8Array, options: InspectOptions): Outcome {
  const queue: View[] = [{ bytes: data, layers: options.undone }];
  const seen = new Seen();
  const text = { left: TEXT_GROWTH * data.length + TEXT_LEAST };
  let problem: Problem | undefined;
  for (let next = 0; next < queue.length; next++) {
    const view = queue[next];
    if (view === undefined) break;
    const hit = options.scan(view.bytes);
    if (hit !== undefined) return { hit, plain: next === 0 };
    problem = problemOf(view, options) ?? problem;
    if (view.layers < options.depth) problem = derive(view, options, { text, queue, seen }) ?? problem;
    if (problem !== undefined && options.stopAtProblem) break;
  }
  return problem === undefined ? {} : { problem };
}

function problemOf(view: View, options: InspectOptions): Problem | undefined {
  if (isOpaque(view.bytes)) return 'coding';
  return view.layers >= options.depth && isContainer(view.bytes, true) ? 'depth' : undefined;
}

/** What one look into a message has made so far. */
interface Made {
  readonly text: { left: number };
  readonly queue: View[];
  readonly seen: Seen;
}

/** Puts what one layer less of coding makes of the view at the end of the queue. */
function derive(view: View, options: InspectOptions, { text, queue, seen }: Made): Problem | undefined {
  const layers = view.layers + 1;
  const unpacked = unpack(view.bytes, options.budget);
  for (const bytes of unpacked.views) {
    text.left += TEXT_GROWTH * bytes.length;
    queue.push({ bytes, layers });
  }
  if (unpacked.problem === 'size') return 'size';
  const runs = decodeRuns(view.bytes);
  const containers = runs.containers.slice(0, options.budget.opens);
  seen.isNew(view.bytes);
  const decoded = [
    undoEscapes(view.bytes, options.around),
    undoQuotedPrintable(view.bytes),
    runs.text,
    closeUp(view.bytes),
    ...containers,
  ];
  for (const bytes of decoded) {
    if (bytes === undefined || !seen.isNew(bytes)) continue;
    text.left -= bytes.length;
    if (text.left < 0) return 'size';
    queue.push({ bytes, layers });
  }
  return containers.length < runs.containers.length ? 'size' : unpacked.problem;
}

/**
 * The views of one message, each once. Digests, since comparing each with all others would take quadratic time; and only where
 * two have the same length, which is seldom.
 */
class Seen {
  readonly #byLength = new Map<number, { readonly first: Uint8Array; digests: Set<string> | undefined }>();

  isNew(bytes: Uint8Array): boolean {
    const same = this.#byLength.get(bytes.length);
    if (same === undefined) {
      this.#byLength.set(bytes.length, { first: bytes, digests: undefined });
      return true;
    }
    if (same.first === bytes) return false;
    same.digests ??= new Set([digestOf(same.first)]);
    const digest = digestOf(bytes);
    if (same.digests.has(digest)) return false;
    same.digests.add(digest);
    return true;
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('binary');
}
