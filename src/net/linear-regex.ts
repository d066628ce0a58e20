import { RE2JS } from 're2js';

/** A pattern of the policy, matched in time linear in the text. */
export interface LinearRegex {
  readonly pattern: string;
  /** True when the pattern is found anywhere in the text. */
  test(text: string): boolean;
}

export type LinearRegexResult =
  | { readonly ok: true; readonly regex: LinearRegex }
  | { readonly ok: false; readonly why: string };

/** Characters of one pattern. */
export const REGEX_CHARS_MAX = 1_000;

/** Instructions of its program: matching takes at most this many steps a character. */
export const REGEX_PROGRAM_MAX = 2_000;

/**
 * Compiles RE2 syntax (https://github.com/google/re2/wiki/Syntax). JavaScript's own engine backtracks, so that a text from the sandbox
 * could make a pattern run for years; RE2 has no lookaround and no back-references, which need that.
 */
export function compileLinearRegex(pattern: string): LinearRegexResult {
  if (pattern.length > REGEX_CHARS_MAX) return no(`a regular expression over ${REGEX_CHARS_MAX} characters`);
  try {
    const compiled = RE2JS.compile(pattern);
    if (compiled.programSize() > REGEX_PROGRAM_MAX)
      return no('a regular expression whose repetitions make it too large');
    return { ok: true, regex: { pattern, test: (text) => compiled.test(text) } };
  } catch (error) {
    return no(explain(pattern, error instanceof Error ? error.message : String(error)));
  }
}

/** What RE2 says, or what the reader probably meant when it is one of the constructs that RE2 leaves out. */
function explain(pattern: string, message: string): string {
  if (/\(\?<?[=!]/.test(pattern) && /Perl syntax|named capture/.test(message))
    return 'lookahead and lookbehind are not in RE2, the syntax of policies: they cannot be matched in linear time';
  if (/\\[1-9]/.test(pattern) && message.includes('escape'))
    return 'back-references are not in RE2, the syntax of policies: they cannot be matched in linear time';
  return message.replace(/^error parsing regexp: /, '');
}

function no(why: string): LinearRegexResult {
  return { ok: false, why };
}
