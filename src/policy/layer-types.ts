import type {
  AskPolicy,
  CredentialPolicy,
  DlpPolicy,
  LayerName,
  LimitName,
  NamedDriver,
  NetworkDeny,
  NetworkRule,
  Origin,
  ParentProxyPolicy,
  PathRule,
  ProcessPolicy,
  Tier,
} from './contract.ts';

/** A value and where it was said. */
export interface Located<T> {
  readonly value: T;
  readonly origin: Origin;
}

/** Numbers of which more is wider; `Infinity` says unlimited. */
export type NumberKey = `limits.${LimitKey}` | `network.budget.${BudgetKey}` | 'filesystem.tmp';

export type LimitKey = 'cpu' | 'memory' | 'pids' | 'files' | 'fileSize' | 'output' | 'timeout' | 'ttl';
export type BudgetKey =
  | 'requests'
  | 'upload'
  | 'download'
  | 'connections'
  | 'names'
  | 'requestsPerMinute'
  | 'concurrency';

/** Settings that have one value; lists add up instead. */
export interface ScalarValues extends Record<NumberKey, number> {
  tier: Tier;
  driver: NamedDriver;
  'filesystem.mode': 'direct' | 'review';
  'filesystem.writable': boolean;
  /** As `baseText` writes it: `host`, `image:NAME` or an absolute path. */
  'filesystem.base': string;
  'network.overBudget': 'refuse' | 'pause';
  'process.seccomp': ProcessPolicy['seccomp'];
  'process.user': string;
  'process.nesting': boolean;
}

export type ScalarKey = keyof ScalarValues;
export type Scalars = { readonly [K in ScalarKey]?: Located<ScalarValues[K]> };

/** An environment entry: a value, or (without one) the host's own. */
export interface EnvRule {
  readonly name: string;
  readonly value?: string;
  readonly origin: Origin;
}

/** One file, profile or command line, normalised. A list that was not written is undefined: for a ceiling that is no ceiling. */
export interface Fragment {
  readonly layer: LayerName | 'built-in';
  readonly profile?: string;
  readonly scalars: Scalars;
  readonly workspace?: Located<string>;
  readonly read?: readonly PathRule[];
  readonly write?: readonly PathRule[];
  readonly deny?: readonly PathRule[];
  readonly protect?: readonly PathRule[];
  readonly unprotect?: readonly PathRule[];
  readonly allow?: readonly NetworkRule[];
  readonly netDeny?: readonly NetworkDeny[];
  readonly dlp?: Located<DlpPolicy>;
  readonly parentProxy?: Located<ParentProxyPolicy>;
  /** Null: said to be off. */
  readonly ask?: Located<AskPolicy | null>;
  readonly trust?: readonly Located<string>[];
  readonly env?: readonly EnvRule[];
  readonly require?: readonly Located<LimitName>[];
  readonly credentials?: readonly CredentialPolicy[];
  /** Where each written list stands, for messages about what is not in it. */
  readonly listOrigins?: Readonly<Record<string, Origin>>;
  readonly reserved?: readonly Located<{ readonly name: string; readonly settings: unknown }>[];
}
