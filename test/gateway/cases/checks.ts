import { configChecks } from './checks-config.ts';
import { logChecks } from './checks-log.ts';
import { wireChecks } from './checks-wire.ts';
import type { Case } from './load.ts';
import type { Result } from './run.ts';

/** What is wrong; undefined when nothing is. */
export type Finding = string | undefined;

/** A meaning of a phrase that rows' `assert` texts use. */
export interface Phrase {
  readonly pattern: RegExp;
  check(result: Result, match: RegExpExecArray): Finding | Promise<Finding>;
}

export interface Check {
  readonly what: string;
  run(result: Result): Finding | Promise<Finding>;
}

const PHRASES: readonly Phrase[] = [...wireChecks, ...logChecks, ...configChecks];

/** What a row's `assert` says beyond its verdict, phrase by phrase. */
export function checksFor(row: Case): Check[] {
  const text = row.assert ?? '';
  return PHRASES.flatMap((phrase) => {
    const match = phrase.pattern.exec(text);
    if (match === null) return [];
    return [{ what: `"${text}" (${match[0]})`, run: (result) => phrase.check(result, match) }];
  });
}
