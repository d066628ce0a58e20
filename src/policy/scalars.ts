import type {
  BudgetKey,
  LimitKey,
  Located,
  NumberKey,
  ScalarKey,
  Scalars,
  ScalarValues,
} from './layer-types.ts';
import { formatDuration, formatSize } from './units.ts';

export const LIMIT_KEYS: readonly LimitKey[] = [
  'cpu',
  'memory',
  'pids',
  'files',
  'fileSize',
  'output',
  'timeout',
  'ttl',
];
export const BUDGET_KEYS: readonly BudgetKey[] = [
  'requests',
  'upload',
  'download',
  'connections',
  'names',
  'requestsPerMinute',
  'concurrency',
];

/** What holds when no layer says anything: the strict end, except where nothing would run. */
export const SCALAR_DEFAULTS = {
  tier: 'process',
  driver: 'gvisor',
  'filesystem.mode': 'direct',
  'filesystem.writable': true,
  'filesystem.base': 'host',
  'filesystem.tmp': 256 * 2 ** 20,
  'network.overBudget': 'refuse',
  'process.seccomp': 'default',
  'process.user': 'sandbox',
  'process.nesting': false,
} as const satisfies Partial<ScalarValues>;

/** `auto` may end at any tier, so it is only as good as the weakest, but says less than asking for that one. */
const TIER_RANK = { process: 0, auto: 0.5, container: 1, vm: 2, 'vm+gvisor': 3 } as const;
const SECCOMP_RANK = { debug: 0, default: 1, strict: 2 } as const;

/** How much a value allows: more is wider. The login name allows nothing; base systems and drivers have no such order: see `widens`. */
const WIDTH: { readonly [K in Exclude<ScalarKey, NumberKey>]: (value: ScalarValues[K]) => number } = {
  tier: (tier) => -TIER_RANK[tier],
  driver: () => 0,
  'filesystem.mode': (mode) => (mode === 'direct' ? 1 : 0),
  'filesystem.writable': Number,
  'filesystem.base': () => 0,
  'network.overBudget': (action) => (action === 'refuse' ? 1 : 0),
  'process.seccomp': (profile) => -SECCOMP_RANK[profile],
  'process.user': () => 0,
  'process.nesting': Number,
};

export function isNumberKey(key: ScalarKey): key is NumberKey {
  return !(key in WIDTH);
}

const SCALAR_KEYS: readonly ScalarKey[] = [
  'tier',
  'driver',
  'filesystem.mode',
  'filesystem.base',
  'filesystem.writable',
  'filesystem.tmp',
  'process.seccomp',
  'process.user',
  'process.nesting',
  'network.overBudget',
  ...BUDGET_KEYS.map((key) => `network.budget.${key}` as const),
  ...LIMIT_KEYS.map((key) => `limits.${key}` as const),
];

/** Every scalar, in the order of the language. */
export function scalarKeys(): readonly ScalarKey[] {
  return SCALAR_KEYS;
}

/** What holds for a key when no layer says anything; undefined is unbounded. */
export function scalarDefault<K extends ScalarKey>(key: K): ScalarValues[K] | undefined {
  const defaults: { readonly [P in ScalarKey]?: ScalarValues[P] } = SCALAR_DEFAULTS;
  return defaults[key];
}

/** A number that orders values of one key by what they allow; absent counts as the default, and unbounded where there is none. */
export function width<K extends ScalarKey>(key: K, value: ScalarValues[K] | undefined): number {
  const known = value ?? scalarDefault(key);
  if (known === undefined) return Infinity;
  if (typeof known === 'number') return known;
  const measures: { readonly [P in ScalarKey]?: (value: ScalarValues[P]) => number } = WIDTH;
  return measures[key]?.(known) ?? 0;
}

/**
 * True when `to` allows something that `from` does not. Another base system always may: it is another set of programs and files. So may
 * another driver, unless it is what its tier has by default: an engine is a service of its own, and with its usual runtime the kernel is the host's.
 */
export function widens<K extends ScalarKey>(
  key: K,
  from: ScalarValues[K] | undefined,
  to: ScalarValues[K] | undefined,
): boolean {
  if (key === 'filesystem.base') return (from ?? scalarDefault(key)) !== (to ?? scalarDefault(key));
  if (key === 'driver') return to !== undefined && to !== 'gvisor' && to !== 'qemu' && to !== from;
  return width(key, to) > width(key, from);
}

/** A scalar as the policy language writes it. */
export function formatScalar(key: ScalarKey, value: ScalarValues[ScalarKey] | undefined): string {
  const known = value ?? scalarDefault(key);
  if (known === undefined || known === Infinity) return 'unlimited';
  if (typeof known !== 'number') return String(known);
  if (/\.(?:memory|fileSize|output|tmp|upload|download)$/.test(key)) return formatSize(known);
  return /\.(?:timeout|ttl)$/.test(key) ? formatDuration(known) : String(known);
}

/** Later values win. */
export function mergeScalars(...layers: readonly Scalars[]): Scalars {
  return Object.assign({}, ...layers);
}

/** Scalars while they are collected. */
export type ScalarDraft = { -readonly [K in ScalarKey]?: Scalars[K] };

/** The scalars that a test lets through. */
export function filterScalars(
  scalars: Scalars,
  keep: (key: ScalarKey, asked: Located<ScalarValues[ScalarKey]>) => boolean,
): Scalars {
  const kept: ScalarDraft = {};
  for (const key of SCALAR_KEYS) {
    const asked = scalarOf(scalars, key);
    if (asked !== undefined && keep(key, asked)) Object.assign(kept, { [key]: asked });
  }
  return kept;
}

/** Reads one scalar with its type. */
export function scalarOf<K extends ScalarKey>(
  scalars: Scalars,
  key: K,
): Located<ScalarValues[K]> | undefined {
  return scalars[key];
}
