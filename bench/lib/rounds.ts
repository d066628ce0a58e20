import type { Series, Unit } from './result.ts';

/** One of the things that are measured side by side. */
export interface Arm {
  readonly name: string;
  readonly command: string;
  /** Puts things into place before every sample; not measured. */
  readonly before?: () => void | Promise<void>;
  /** One sample: a value for each of the metrics. */
  readonly sample: () => Promise<Readonly<Record<string, number>>>;
}

/** What a sample holds: name and unit of each value. */
export type Metrics = Readonly<Record<string, Unit>>;

export interface Rounds {
  readonly arms: readonly Arm[];
  readonly metrics: Metrics;
  readonly rounds: number;
  /** Samples thrown away first, so that page cache and caches of the programs are warm. */
  readonly warmups: number;
  /** No round begins after this many milliseconds. */
  readonly budgetMs: number;
}

/** Runs the arms in turn, A B C A B C …, so that a change of the machine's load meets all of them. */
export async function interleave(input: Rounds): Promise<readonly Series[]> {
  const samples = new Map<string, number[]>();
  const started = Date.now();
  for (let round = -input.warmups; round < input.rounds; round++) {
    if (round > 0 && Date.now() - started > input.budgetMs) break;
    for (const arm of input.arms) {
      await arm.before?.();
      const values = await arm.sample();
      if (round >= 0) keep(samples, arm, values);
    }
  }
  return input.arms.flatMap((arm) => seriesOf(arm, input.metrics, samples));
}

function keep(into: Map<string, number[]>, arm: Arm, values: Readonly<Record<string, number>>): void {
  for (const [metric, value] of Object.entries(values)) {
    const key = labelOf(arm, metric);
    into.set(key, [...(into.get(key) ?? []), value]);
  }
}

function seriesOf(
  arm: Arm,
  metrics: Metrics,
  samples: ReadonlyMap<string, readonly number[]>,
): readonly Series[] {
  return Object.entries(metrics).flatMap(([metric, unit]) => {
    const label = labelOf(arm, metric);
    const values = samples.get(label);
    return values === undefined ? [] : [{ label, unit, command: arm.command, samples: values }];
  });
}

/** A metric without a name is the arm's only one. */
const labelOf = (arm: Arm, metric: string): string => (metric === '' ? arm.name : `${arm.name}: ${metric}`);

/** The series with this label, when it was measured. */
export const find = (series: readonly Series[], label: string): Series | undefined =>
  series.find((one) => one.label === label);
