import type { Ir } from './assemble.ts';
import type { Action, Check, Span, Word } from './check.ts';
import { ERRNO } from './check.ts';

// linux/seccomp.h
const RETURN_ALLOW = 0x7fff_0000;
const RETURN_ERRNO = 0x0005_0000;
const RETURN_KILL_PROCESS = 0x8000_0000;

const LAST = 0xffff_ffff;

/**
 * Turns a decision tree into BPF. A switch becomes a binary search by value.
 *
 * Up to the argument checks only loads of the number and the architecture, AND, JEQ, JGE and JSET occur: with these
 * the kernel works out at installation which numbers are always allowed and skips the filter for them
 * (seccomp_is_const_allow in kernel/seccomp.c, since 5.11).
 */
export function lower(check: Check): Ir[] {
  const program: Ir[] = [];
  emit(check, { program, nextLabel: 0 });
  return program;
}

interface Output {
  readonly program: Ir[];
  nextLabel: number;
}

function emit(check: Check, out: Output): void {
  if (check.kind === 'bits') return emitBits(check, out);
  if (check.kind !== 'switch') {
    out.program.push({ op: 'return', value: returnValue(check) });
    return;
  }
  out.program.push({ op: 'load', offset: offsetOf(check.word) });
  if (check.mask !== undefined) out.program.push({ op: 'and', mask: check.mask });
  emitSearch(cover(check.spans, check.otherwise), out);
}

function emitBits(check: Extract<Check, { kind: 'bits' }>, out: Output): void {
  const some = out.nextLabel++;
  out.program.push({ op: 'load', offset: offsetOf(check.word) });
  out.program.push({ op: 'jump', test: 'set', value: check.mask, yes: some });
  emit(check.none, out);
  out.program.push({ op: 'label', id: some });
  emit(check.some, out);
}

interface Interval {
  readonly from: number;
  readonly check: Check;
  readonly weight: number;
}

/** Intervals that cover every value in order, neighbours with the same check joined. */
function cover(spans: readonly Span[], otherwise: Check): Interval[] {
  const all: Interval[] = [];
  let next = 0;
  for (const span of [...spans].sort((a, b) => a.from - b.from)) {
    if (span.from < next || span.to < span.from) throw new RangeError(`spans overlap at ${span.from}`);
    if (span.from > next) push(all, { from: next, check: otherwise, weight: 1 });
    push(all, { from: span.from, check: span.check, weight: span.weight ?? 1 });
    next = span.to + 1;
  }
  if (next <= LAST) push(all, { from: next, check: otherwise, weight: 1 });
  return all;
}

function push(all: Interval[], next: Interval): void {
  const last = all.at(-1);
  if (last === undefined || !same(last.check, next.check)) {
    all.push(next);
    return;
  }
  all[all.length - 1] = { ...last, weight: last.weight + next.weight };
}

function same(a: Check, b: Check): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind) return false;
  if (a.kind === 'errno' && b.kind === 'errno') return a.errno === b.errno;
  return JSON.stringify(a) === JSON.stringify(b);
}

function emitSearch(intervals: readonly Interval[], out: Output): void {
  const [first, second, third] = intervals;
  if (first === undefined) return;
  if (second === undefined) return emit(first.check, out);
  const label = out.nextLabel++;
  const lone = intervals.length === 3 && third !== undefined && third.from === second.from + 1;
  if (lone && same(first.check, third.check)) {
    // One value in the midst of others: one comparison for equality, not two for order.
    out.program.push({ op: 'jump', test: 'eq', value: second.from, yes: label });
    emit(first.check, out);
    out.program.push({ op: 'label', id: label });
    return emit(second.check, out);
  }
  const middle = splitAt(intervals);
  out.program.push({ op: 'jump', test: 'ge', value: intervals[middle]?.from ?? 0, yes: label });
  emitSearch(intervals.slice(0, middle), out);
  out.program.push({ op: 'label', id: label });
  emitSearch(intervals.slice(middle), out);
}

/** The split that leaves the lighter heavier half. */
function splitAt(intervals: readonly Interval[]): number {
  const total = intervals.reduce((sum, { weight }) => sum + weight, 0);
  let best = 1;
  let bestWeight = total;
  let left = 0;
  for (let i = 1; i < intervals.length; i++) {
    left += intervals[i - 1]?.weight ?? 0;
    const heavier = Math.max(left, total - left);
    if (heavier >= bestWeight) continue;
    best = i;
    bestWeight = heavier;
  }
  return best;
}

function returnValue(action: Action): number {
  if (action.kind === 'allow') return RETURN_ALLOW;
  if (action.kind === 'kill') return RETURN_KILL_PROCESS;
  return RETURN_ERRNO | ERRNO[action.errno];
}

/** Offsets in struct seccomp_data; arguments are 64 bits wide, little-endian on both architectures. */
function offsetOf(word: Word): number {
  if (word.of === 'nr') return 0;
  if (word.of === 'arch') return 4;
  return 16 + 8 * word.index + (word.half === 'low' ? 0 : 4);
}
