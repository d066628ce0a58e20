import type { ArgumentRule } from './rules.ts';

/** When a call is allowed at all. */
export type Condition =
  | 'always'
  | 'never'
  /** Not in profile `strict`. */
  | 'relaxed'
  /** Only in profile `debug`. */
  | 'debug'
  /** Only with nesting. */
  | 'nesting';

/** One system call in the table. */
export interface Row {
  readonly when: Condition;
  /** Why it is allowed, or why it is not. */
  readonly why: string;
  /** Answer when it is not allowed. ENOSYS where programs have a fallback for kernels without the call. */
  readonly errno: 'EPERM' | 'ENOSYS' | 'EOPNOTSUPP' | 'NONE';
  readonly rule?: ArgumentRule;
}

/** A call that ordinary programs make. */
export function allow(why: string, rule?: ArgumentRule): Row {
  return { when: 'always', why, errno: 'EPERM', ...(rule === undefined ? {} : { rule }) };
}

/** Allowed except in profile `strict`. */
export function relaxed(why: string, errno: Row['errno'] = 'ENOSYS'): Row {
  return { when: 'relaxed', why, errno };
}

/** Allowed only with nesting. */
export function nesting(why: string): Row {
  return { when: 'nesting', why, errno: 'EPERM' };
}

/** Allowed only in profile `debug`. */
export function debug(why: string): Row {
  return { when: 'debug', why, errno: 'EPERM' };
}

/** Refused as dangerous: the program learns that it may not. */
export function deny(why: string): Row {
  return { when: 'never', why, errno: 'EPERM' };
}

/** Refused as if the kernel did not have it: programs take their fallback. */
export function absent(why: string): Row {
  return { when: 'never', why, errno: 'ENOSYS' };
}

/** Refused with the answer that programs take for "not supported here". */
export function refused(errno: Row['errno'], why: string): Row {
  return { when: 'never', why, errno };
}
