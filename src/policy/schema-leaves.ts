import { z } from 'zod';
import { ENV_NAME, NEVER_PASSED } from './environment-names.ts';
import { checkHost, parseHostEntry } from './host-entry.ts';
import { pathProblem, type PathUse } from './path-text.ts';
import {
  DURATION_PATTERN,
  formatDuration,
  formatSize,
  MAX_DURATION_MS,
  parseDuration,
  parseSize,
  SIZE_PATTERN,
} from './units.ts';

/** What a custom issue tells beside its place: see `PolicyProblem`. */
export interface IssueFacts {
  readonly expected?: string;
  readonly why?: string;
  readonly nearest?: string;
}

/** A mapping of the language; any other key is an error. */
export function section<T extends z.core.$ZodLooseShape>(shape: T): z.ZodObject<T, z.core.$strict> {
  return z.strictObject(shape);
}

/** Text that a test accepts; the test answers what is wrong. */
export function checkedText(test: (text: string) => IssueFacts | undefined): z.ZodString {
  return z.string({ error: 'text' }).check((ctx) => {
    const facts = test(ctx.value);
    if (facts !== undefined) ctx.issues.push(issue(ctx.value, facts));
  });
}

/** A custom issue with its facts where `schema-errors.ts` finds them. */
export function issue(input: unknown, facts: IssueFacts): z.core.$ZodRawIssue {
  return {
    code: 'custom',
    input,
    message: facts.expected ?? facts.why ?? '',
    params: { ...facts },
    continue: true,
  };
}

/** One of a few words. */
export function word<const T extends readonly string[]>(...words: T): z.ZodEnum<{ [K in T[number]]: K }> {
  return z.enum(words, { error: () => `one of ${words.join(', ')}` });
}

export const yesNo = z.boolean({ error: 'true or false' });

export const prose = z
  .string({ error: 'text' })
  .max(500, { error: 'at most 500 characters' })
  .describe('Why this is here; shown by `glovebox policy explain`.');

export const SIZE_EXPECTED = 'a size such as 256MiB, or unlimited';
export const DURATION_EXPECTED = 'a time such as 90s or 10m, or unlimited';

/** Bytes, or a size with a binary unit. */
export const size = z
  .union(
    [
      z.int().min(0, { error: SIZE_EXPECTED }),
      z.string().regex(SIZE_PATTERN, { error: SIZE_EXPECTED, abort: true }),
    ],
    { error: SIZE_EXPECTED },
  )
  .check((ctx) => {
    if (parseSize(ctx.value) === undefined)
      ctx.issues.push(issue(ctx.value, { expected: SIZE_EXPECTED, why: 'it is too large' }));
  })
  .describe('Bytes, or a number with B, KiB, MiB, GiB or TiB; or `unlimited`.');

/** As `size`, at least so many bytes and never without bound. */
export function boundedSize(least: number): z.ZodType<string | number> {
  const expected = `a size of at least ${formatSize(least)}, such as 256MiB`;
  return z
    .union(
      [z.int().min(0, { error: expected }), z.string().regex(SIZE_PATTERN, { error: expected, abort: true })],
      { error: expected },
    )
    .check((ctx) => {
      const bytes = parseSize(ctx.value);
      if (bytes === undefined || bytes < least || bytes === Infinity)
        ctx.issues.push(issue(ctx.value, { expected }));
    })
    .describe('Bytes, or a number with B, KiB, MiB, GiB or TiB.');
}

/** A time with its unit. */
export const duration = z
  .string({ error: DURATION_EXPECTED })
  .regex(DURATION_PATTERN, { error: DURATION_EXPECTED, abort: true })
  .check((ctx) => {
    if (parseDuration(ctx.value) !== undefined) return;
    ctx.issues.push(
      issue(ctx.value, {
        expected: DURATION_EXPECTED,
        why: `it must be above 0 and at most ${Math.floor(MAX_DURATION_MS / 86_400_000)}d`,
      }),
    );
  })
  .describe('A number with ms, s, m, h or d; or `unlimited`.');

/** A time between two bounds, never without one. */
export function boundedDuration(least: number, most: number): z.ZodString {
  const expected = `a time from ${formatDuration(least)} to ${formatDuration(most)}`;
  return checkedText((text) => {
    const ms = parseDuration(text);
    return ms !== undefined && ms >= least && ms <= most ? undefined : { expected };
  });
}

const COUNT_EXPECTED = 'a whole number from 1, or unlimited';
const MAX_COUNT = 2 ** 31 - 1;

export const count = z
  .union(
    [
      z
        .int({ error: COUNT_EXPECTED })
        .min(1, { error: COUNT_EXPECTED })
        .max(MAX_COUNT, { error: COUNT_EXPECTED }),
      z.literal('unlimited'),
    ],
    { error: COUNT_EXPECTED },
  )
  .describe('A whole number from 1; or `unlimited`.');

const CPU_EXPECTED = 'a number of CPUs such as 0.5 or 2, or unlimited';

export const cpu = z
  .union(
    [
      z.number().min(0.01, { error: CPU_EXPECTED }).max(1024, { error: CPU_EXPECTED }),
      z.literal('unlimited'),
    ],
    { error: CPU_EXPECTED },
  )
  .describe('CPUs, may be a fraction; or `unlimited`.');

export const port = z
  .int({ error: 'a port from 1 to 65535' })
  .min(1, { error: 'a port from 1 to 65535' })
  .max(65_535, { error: 'a port from 1 to 65535' });

/** A path entry: text, or an object that says why. */
export function pathEntry(use: PathUse): z.ZodType<PathEntry, PathEntry> {
  const describe =
    use === 'read' || use === 'write'
      ? 'A path: absolute, from ~, or relative to the workspace.'
      : 'A path or pattern (*, **, ?, […]): absolute, from ~, or relative to the workspace.';
  const plain = checkedText((text) => pathFacts(text, use, false)).describe(describe);
  const object = section({
    path: z.string({ error: 'text' }).describe(describe),
    why: prose.optional(),
    optional: yesNo.optional().describe('No complaint when it is not there.'),
    literal: yesNo.optional().describe('The name really holds *, ?, [ or {.'),
  }).check((ctx) => {
    const facts = pathFacts(ctx.value.path, use, ctx.value.literal ?? false);
    if (facts !== undefined) ctx.issues.push({ ...issue(ctx.value.path, facts), path: ['path'] });
  });
  return z.union([plain, object], { error: 'a path, or { path, why, optional, literal }' });
}

/** As zod infers it: an absent key may also be undefined. */
export type PathEntry =
  | string
  | { path: string; why?: string | undefined; optional?: boolean | undefined; literal?: boolean | undefined };

function pathFacts(text: string, use: PathUse, literal: boolean): IssueFacts | undefined {
  // `!name` in a protect list lifts a built-in protection; the name is checked where the table is known.
  const bare = use === 'protect' && text.startsWith('!') && !literal ? text.slice(1) : text;
  if (use === 'deny' && text.startsWith('!') && !literal) {
    return { expected: 'a path', why: 'a denial cannot be lifted; remove the entry that denies it' };
  }
  const problem = pathProblem(bare, use, literal);
  if (problem === undefined) return undefined;
  return {
    expected: 'a path',
    why: problem.why,
    ...(problem.hint === undefined ? {} : { nearest: problem.hint }),
  };
}

const HOST_EXPECTED = 'a host such as api.example.com or *.example.com';

export const hostText = (use: 'allow' | 'deny'): z.ZodString =>
  checkedText((text) => hostFacts(checkHost(text, use)));
export const hostEntryText = (use: 'allow' | 'deny'): z.ZodString =>
  checkedText((text) => hostFacts(parseHostEntry(text, use)));

function hostFacts(result: ReturnType<typeof checkHost>): IssueFacts | undefined {
  if (result.ok) return undefined;
  return {
    expected: HOST_EXPECTED,
    why: result.why,
    ...(result.hint === undefined ? {} : { nearest: result.hint }),
  };
}

export const envPassName = checkedText((name) => {
  if (!ENV_NAME.test(name))
    return {
      expected: 'the name of one environment variable',
      ...(name.includes('=') ? { why: 'to set a value write { set: { NAME: value } }' } : {}),
    };
  if (NEVER_PASSED.test(name))
    return {
      expected: 'a variable that may pass',
      why: "it steers a loader or interpreter, so the host's value never passes; `set` it if the sandbox needs one",
    };
  return undefined;
});

export const envSetName = z.string().regex(ENV_NAME, { error: 'the name of an environment variable' });

export const envValue = checkedText((text) => {
  if (text.includes('\0')) return { expected: 'text without NUL' };
  return text.length > 32_768 ? { expected: 'at most 32768 characters' } : undefined;
});

export const ruleId = z.string({ error: 'text' }).regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
  error: 'a name of letters, digits, ".", "_" and "-", at most 64',
});
