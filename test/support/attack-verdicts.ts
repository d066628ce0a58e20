import { expect } from 'vitest';
import type { BoxResult, TestBox } from './box.ts';

/** What each attempt of a probe came to, by name. */
export function outcomes(result: BoxResult): Readonly<Record<string, string>> {
  const pairs = result.stdout.split('\n').flatMap((line) => {
    const at = line.indexOf('=');
    return at === -1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const];
  });
  return Object.fromEntries(pairs);
}

/** Every named attempt was made and refused with one of `errnos`. */
export function expectRefused(result: BoxResult, names: readonly string[], errnos: readonly string[]): void {
  const seen = outcomes(result);
  const wrong = names.filter((name) => !errnos.includes(seen[name] ?? 'never tried'));
  const shown = Object.fromEntries(wrong.map((name) => [name, seen[name] ?? 'never tried']));
  expect(shown, `${result.stdout}${result.stderr}`).toEqual({});
}

/** Every attempt that the probe printed was refused, and there were at least `least`. */
export function expectAllRefused(result: BoxResult, least: number): void {
  const seen = Object.entries(outcomes(result));
  expect(seen.length, `${result.stdout}${result.stderr}`).toBeGreaterThanOrEqual(least);
  expect(seen.filter(([, outcome]) => outcome.startsWith('OK'))).toEqual([]);
}

/** The secret got neither to standard output nor to standard error. */
export function expectUnseen(result: BoxResult, secret: string): void {
  expect(result.stdout).not.toContain(secret);
  expect(result.stderr).not.toContain(secret);
}

/** The records that every run leaves, also when the kernel alone refused: one sandbox, start to end. */
export function expectRecorded(box: TestBox): void {
  const records = box.records();
  const start = records.findLast((record) => record.kind === 'run.start');
  expect(start?.sandbox).toBeTypeOf('string');
  const kinds = records.filter((record) => record.sandbox === start?.sandbox).map((record) => record.kind);
  expect(kinds).toContain('run.command');
  expect(kinds).toContain('run.end');
}

/** A record of this kind whose data holds these fields. */
export function expectEvent(box: TestBox, kind: string, data: Readonly<Record<string, unknown>> = {}): void {
  const candidates = box.records().filter((record) => record.kind === kind);
  expect(candidates.map((record) => record.data)).toContainEqual(expect.objectContaining(data));
}

/** A network refusal with its rule. */
export function expectDenied(box: TestBox, data: Readonly<Record<string, unknown>>): void {
  expectEvent(box, 'network.verdict', { action: 'deny', ...data });
}
