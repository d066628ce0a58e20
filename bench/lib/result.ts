/** What a number counts. */
export type Unit = 'ms' | 'MiB' | 'MiB/s' | '1/s' | 'processes' | 'x';

/** Every sample of one figure, in the order it was taken. */
export interface Series {
  readonly label: string;
  readonly unit: Unit;
  /** What was run, as a person would type it. */
  readonly command: string;
  readonly samples: readonly number[];
}

/** What a figure should reach; shown, never asserted. */
export interface Target {
  readonly at: 'most' | 'least';
  readonly value: number;
}

/** Two series beside each other, or one beside its target. */
export interface Comparison {
  readonly label: string;
  readonly unit: Unit;
  /** From the medians. */
  readonly median: number;
  /** From the best samples: nearer to what a quiet machine would say. */
  readonly best: number;
  readonly target?: Target;
}

/** Something that could not be measured here, with the missing piece. */
export interface Skip {
  readonly label: string;
  readonly why: string;
}

export interface SubjectResult {
  readonly series: readonly Series[];
  readonly comparisons: readonly Comparison[];
  readonly skips: readonly Skip[];
}

export interface SubjectRecord extends SubjectResult {
  readonly name: string;
  /** Load averages over one minute. */
  readonly load: { readonly before: number; readonly after: number };
  readonly seconds: number;
  /** Present: it broke, and this is why. */
  readonly error?: string;
}

/** One run of the benchmarks, as it is stored. */
export interface RunRecord {
  readonly v: 1;
  readonly at: string;
  readonly version: string;
  readonly machine: string;
  readonly subjects: readonly SubjectRecord[];
}
