/** What the kernel does with a call. Source: seccomp(2), "SECCOMP_RET_*". */
export type Action =
  | { readonly kind: 'allow' }
  | { readonly kind: 'errno'; readonly errno: ErrnoName }
  /** Ends the whole process with SIGSYS. */
  | { readonly kind: 'kill' };

/** Numbers are the same on x86-64 and arm64 (asm-generic/errno.h). */
export const ERRNO = {
  /** The call is not made, and answers 0 (seccomp(2), "SECCOMP_RET_ERRNO"). */
  NONE: 0,
  EPERM: 1,
  EINVAL: 22,
  ENOSYS: 38,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
} as const;

export type ErrnoName = keyof typeof ERRNO;

/** A 32-bit word of struct seccomp_data. An argument of type int, or a flag word, is the low half: the kernel drops the rest. */
export type Word =
  | { readonly of: 'nr' }
  | { readonly of: 'arch' }
  | { readonly of: 'argument'; readonly index: 0 | 1 | 2 | 3 | 4 | 5; readonly half: 'low' | 'high' };

/** One or more consecutive values, both ends included. */
export interface Span {
  readonly from: number;
  readonly to: number;
  readonly check: Check;
  /** How often it is taken, relative to 1: the compiler keeps frequent spans shallow. */
  readonly weight?: number;
}

/** A decision tree over the words of one system call. The filter, the reference page and the tests read the same tree. */
export type Check =
  | Action
  | {
      readonly kind: 'switch';
      readonly word: Word;
      /** Applied before comparing; absent: the whole word. */
      readonly mask?: number;
      /** Do not overlap. */
      readonly spans: readonly Span[];
      readonly otherwise: Check;
    }
  | {
      readonly kind: 'bits';
      readonly word: Word;
      readonly mask: number;
      readonly some: Check;
      readonly none: Check;
    };

/** One system call as the filter sees it. */
export interface CallData {
  readonly arch: number;
  readonly nr: number;
  /** Six 64-bit values. */
  readonly args: readonly bigint[];
}

export const ALLOW: Action = { kind: 'allow' };
export const KILL: Action = { kind: 'kill' };

/** Refuses with an errno. */
export function refuse(errno: ErrnoName): Action {
  return { kind: 'errno', errno };
}

/** The low 32 bits of an argument. */
export function low(index: 0 | 1 | 2 | 3 | 4 | 5): Word {
  return { of: 'argument', index, half: 'low' };
}

/** The high 32 bits of an argument. */
export function high(index: 0 | 1 | 2 | 3 | 4 | 5): Word {
  return { of: 'argument', index, half: 'high' };
}

/** One span for each value. */
export function values(list: readonly number[], check: Check): Span[] {
  return list.map((value) => ({ from: value, to: value, check }));
}

/** What a check says about a call: the meaning that the compiled program has to have. */
export function decide(check: Check, call: CallData): Action {
  if (check.kind === 'bits') {
    return decide((read(check.word, call) & check.mask) === 0 ? check.none : check.some, call);
  }
  if (check.kind !== 'switch') return check;
  const raw = read(check.word, call);
  const value = check.mask === undefined ? raw : (raw & check.mask) >>> 0;
  const span = check.spans.find((candidate) => value >= candidate.from && value <= candidate.to);
  return decide(span?.check ?? check.otherwise, call);
}

function read(word: Word, call: CallData): number {
  if (word.of === 'nr') return call.nr >>> 0;
  if (word.of === 'arch') return call.arch >>> 0;
  const argument = call.args[word.index] ?? 0n;
  return Number((word.half === 'low' ? argument : argument >> 32n) & 0xffff_ffffn);
}
