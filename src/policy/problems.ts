import { GloveboxError, type SourcePosition } from '../base/errors.ts';
import { printablePath } from '../base/path-bytes.ts';

/** One thing wrong with a policy. */
export interface PolicyProblem {
  /** Absent for the command line. */
  readonly position?: SourcePosition;
  /** Dotted path such as `network.allow[2].host`, or an option such as `--allow`. */
  readonly key: string;
  /** What stands there, quoted; absent for an unknown key, and where it could be a secret. */
  readonly found?: string;
  /** What would be right. */
  readonly expected?: string;
  /** Why it is wrong, when that is not obvious. */
  readonly why?: string;
  /** The nearest thing that would be accepted. */
  readonly nearest?: string;
}

/** Problems printed before the rest is summed up: nobody reads more, and a hostile file could hold a million. */
const SHOWN = 50;

/** One line: `file:line:column: key: found …, expected …: why (nearest)`. */
export function formatProblem(problem: PolicyProblem): string {
  const { position, found, expected, why, nearest } = problem;
  const place =
    position === undefined ? '' : `${printable(position.file)}:${position.line}:${position.column}: `;
  const key = problem.key === '' ? '' : `${printable(problem.key)}: `;
  const facts = [
    found === undefined ? undefined : `found ${found}`,
    expected === undefined ? undefined : `expected ${expected}`,
  ]
    .filter((part) => part !== undefined)
    .join(', ');
  const reason = [facts, why].filter((part) => part !== undefined && part !== '').join(': ');
  return `${place}${key}${reason}${nearest === undefined ? '' : ` (did you mean ${nearest}?)`}`;
}

/** All problems as one error; the list is in its context. */
export function problemsError(problems: readonly PolicyProblem[]): GloveboxError {
  const lines = problems.slice(0, SHOWN).map(formatProblem);
  const rest = problems.length - lines.length;
  if (rest > 0) lines.push(`and ${rest} more`);
  const onOptions = problems.every(({ key }) => key.startsWith('--'));
  const subject = onOptions ? 'the command line' : 'the policy';
  const what =
    lines.length === 1
      ? (lines[0] ?? '')
      : `${subject} has ${problems.length} problems:\n  ${lines.join('\n  ')}`;
  return new GloveboxError('E_POLICY_INVALID', {
    what,
    ...(onOptions ? { next: 'Correct the option; `glovebox help run` lists them all.' } : {}),
    context: { problems: problems.slice(0, SHOWN) },
  });
}

/** A value of a policy for a message: short, quoted, and harmless on a terminal. */
export function quoteValue(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a mapping';
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? typeof value);
  return printable(text.length > 80 ? `${text.slice(0, 79)}…` : text);
}

/** Text of a policy file for a terminal: control and direction characters are written as escapes. */
export function printable(text: string): string {
  return printablePath(text);
}
