import fc from 'fast-check';
import { expect, test } from 'vitest';
import { REGEX_CHARS_MAX, compileLinearRegex } from './linear-regex.ts';

function why(pattern: string): string {
  const result = compileLinearRegex(pattern);
  return result.ok ? '' : result.why;
}

test('finds anywhere', () => {
  const result = compileLinearRegex('(?i)^v[0-9]+|x$');
  expect(result.ok && [result.regex.test('V12'), result.regex.test('ax'), result.regex.test('xv1')]).toEqual([
    true,
    true,
    false,
  ]);
});

test.each([
  ['(?=a)', 'lookahead'],
  ['(?!a)', 'lookahead'],
  ['(?<=a)b', 'lookbehind'],
  ['(?<!a)b', 'lookbehind'],
  ['(a)\\1', 'back-references'],
  ['[', 'missing closing'],
  ['(a{1000}){1000}', 'repeat'],
  ['[a-z]{999}[a-z]{999}[a-z]{999}', 'too large'],
  ['a'.repeat(REGEX_CHARS_MAX + 1), 'over'],
])('refuses %s', (pattern, reason) => {
  expect(why(pattern)).toContain(reason);
});

test('patterns that make a backtracking engine run for ever end on 1 MiB', () => {
  for (const pattern of ['(a*)*b', '(a+a+)+b', '(a|aa)+$', 'a[ab]{500}c']) {
    const result = compileLinearRegex(pattern);
    expect(result.ok && result.regex.test(`${'a'.repeat(1_048_576)}!`)).toBe(false);
  }
});

test('never throws', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 60 }), fc.string(), (pattern, text) => {
      const result = compileLinearRegex(pattern);
      if (result.ok) expect(typeof result.regex.test(text)).toBe('boolean');
      else expect(result.why).not.toBe('');
    }),
  );
});
