import type { Comparison, Series, Target, Unit } from './result.ts';

export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const upper = sorted[Math.floor(half)] ?? Number.NaN;
  return Number.isInteger(half) ? (upper + (sorted[half - 1] ?? Number.NaN)) / 2 : upper;
}

/** The sample that noise spoilt least: the smallest of times and sizes, the largest of rates. */
export function best(series: Series): number {
  const rate = series.unit.endsWith('/s');
  return rate ? Math.max(...series.samples) : Math.min(...series.samples);
}

interface Pair {
  readonly label: string;
  readonly of: Series | undefined;
  readonly to: Series | undefined;
  readonly target?: Target;
}

/** `of` divided by `to`; nothing when one of them was skipped. */
export function ratio(pair: Pair): readonly Comparison[] {
  return compare(pair, 'x', (a, b) => a / b);
}

/** `of` minus `to`, in the unit of `of`. */
export function difference(pair: Pair): readonly Comparison[] {
  return compare(pair, pair.of?.unit ?? 'x', (a, b) => a - b);
}

function compare(pair: Pair, unit: Unit, by: (a: number, b: number) => number): readonly Comparison[] {
  const { label, of, to, target } = pair;
  if (of === undefined || to === undefined) return [];
  const figures = { median: by(median(of.samples), median(to.samples)), best: by(best(of), best(to)) };
  return [{ label, unit, ...figures, ...(target === undefined ? {} : { target }) }];
}

/** One series beside its target. */
export function against(series: Series | undefined, target: Target): readonly Comparison[] {
  if (series === undefined) return [];
  const { label, unit } = series;
  return [{ label, unit, median: median(series.samples), best: best(series), target }];
}

export const isMet = (value: number, target: Target): boolean =>
  target.at === 'most' ? value <= target.value : value >= target.value;
