import { z } from 'zod';
import { nearest } from '../base/nearest.ts';
import { formatPath, type ParsedFile, type PathStep } from './parse.ts';
import { quoteValue, type PolicyProblem } from './problems.ts';
import { DURATION_EXPECTED, SIZE_EXPECTED, type IssueFacts } from './schema-leaves.ts';
import { policyDocument, type PolicyDocument } from './schema.ts';
import { durationHint, sizeHint } from './units.ts';

type Issue = z.core.$ZodIssue;

/** Checks a parsed file against the language: the document, or every problem in it. */
export function checkDocument(parsed: ParsedFile): PolicyDocument | readonly PolicyProblem[] {
  const result = policyDocument.safeParse(parsed.value);
  if (result.success) return result.data;
  return result.error.issues.flatMap((issue) => problemsOf(issue, [], parsed)).sort(byPosition);
}

function byPosition(a: PolicyProblem, b: PolicyProblem): number {
  const [left, right] = [a.position, b.position];
  return (left?.line ?? 0) - (right?.line ?? 0) || (left?.column ?? 0) - (right?.column ?? 0);
}

export function isProblems(
  value: PolicyDocument | readonly PolicyProblem[],
): value is readonly PolicyProblem[] {
  return Array.isArray(value);
}

function problemsOf(issue: Issue, base: readonly PathStep[], parsed: ParsedFile): readonly PolicyProblem[] {
  const path = [...base, ...issue.path.map(stepOf)];
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey([...path, key], parsed));
  if (issue.code === 'invalid_union') return unionProblems(issue, path, parsed);
  if (issue.code === 'invalid_key')
    return [valueProblem(path, parsed, keyFacts(issue.issues[0]), path.at(-1))];
  if (issue.code === 'custom') return [valueProblem(path, parsed, (issue.params ?? {}) as IssueFacts)];
  const missing = valueAt(parsed.value, path) === undefined;
  if (missing)
    return [
      { position: parsed.at(path), key: formatPath(path), expected: expectedOf(issue), why: 'it is missing' },
    ];
  return [valueProblem(path, parsed, { expected: expectedOf(issue) })];
}

function keyFacts(issue: Issue | undefined): IssueFacts {
  if (issue?.code === 'custom') return (issue.params ?? {}) as IssueFacts;
  return { expected: issue?.message ?? 'another name' };
}

/** Symbols cannot come out of a file. */
const stepOf = (step: PropertyKey): PathStep => (typeof step === 'number' ? step : String(step));

/** The problems of the alternative that was meant: the one whose outer shape fits. */
function unionProblems(
  issue: z.core.$ZodIssueInvalidUnion,
  path: readonly PathStep[],
  parsed: ParsedFile,
): readonly PolicyProblem[] {
  const fitting = issue.errors.filter(
    (branch) => !branch.some((inner) => inner.path.length === 0 && isShapeIssue(inner)),
  );
  // Of several fitting objects the one with the fewest complaints was meant.
  const meant = fitting.sort((a, b) => unknownKeys(a) - unknownKeys(b) || a.length - b.length)[0];
  if (meant === undefined) return [valueProblem(path, parsed, { expected: issue.message })];
  const found = meant.flatMap((inner) => problemsOf(inner, path, parsed));
  const vague =
    meant.length > 0 && meant.every((inner) => inner.path.length === 0 && inner.code === 'too_small');
  return vague ? [valueProblem(path, parsed, { expected: issue.message })] : found;
}

function isShapeIssue(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

const unknownKeys = (branch: readonly Issue[]): number =>
  branch.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 0), 0);

function valueProblem(
  path: readonly PathStep[],
  parsed: ParsedFile,
  facts: IssueFacts,
  found = valueAt(parsed.value, path),
): PolicyProblem {
  const guess = facts.nearest ?? hintFor(facts.expected, found);
  const hint = guess === found ? undefined : guess;
  return {
    position: parsed.at(path),
    key: formatPath(path),
    found: isSecretPlace(path) && typeof found === 'string' ? 'text' : quoteValue(found),
    ...(facts.expected === undefined ? {} : { expected: facts.expected }),
    ...(facts.why === undefined ? {} : { why: facts.why }),
    ...(hint === undefined ? {} : { nearest: hint }),
  };
}

function hintFor(expected: string | undefined, found: unknown): string | undefined {
  if (expected === SIZE_EXPECTED || expected?.startsWith('a size of') === true) return sizeHint(found);
  if (expected === DURATION_EXPECTED) return durationHint(found);
  if (expected === 'true or false' && typeof found === 'string') return booleanHint(found);
  if (expected?.startsWith('one of ') === true && typeof found === 'string')
    return nearest(found, expected.slice(7).split(', '));
  return undefined;
}

function booleanHint(found: string): string | undefined {
  if (/^(?:yes|on|y|true)$/i.test(found)) return 'true';
  return /^(?:no|off|n|false)$/i.test(found) ? 'false' : undefined;
}

/** A value that somebody pasted there may be a secret: it is not repeated. */
function isSecretPlace(path: readonly PathStep[]): boolean {
  const [section, key] = path;
  if (section === 'network')
    return key === 'parentProxy' || path.includes('canaries') || path.includes('setHeaders');
  return section === 'credentials' || (section === 'process' && key === 'env' && path.includes('set'));
}

function unknownKey(path: readonly PathStep[], parsed: ParsedFile): PolicyProblem {
  const known = knownKeys(policyDocument, path.slice(0, -1));
  const name = String(path.at(-1));
  const near = nearest(name, known);
  return {
    position: parsed.keyAt(path),
    key: formatPath(path),
    why:
      near === undefined ? `there is no such key; known here: ${known.join(', ')}` : 'there is no such key',
    ...(near === undefined ? {} : { nearest: near }),
  };
}

/** The keys that the language knows at a path, over all alternatives. */
export function knownKeys(schema: z.core.$ZodType, path: readonly PathStep[]): readonly string[] {
  if (schema instanceof z.ZodOptional) return knownKeys(schema.unwrap(), path);
  if (schema instanceof z.ZodUnion)
    return [...new Set(schema.options.flatMap((option) => knownKeys(option, path)))];
  if (schema instanceof z.ZodArray) return path.length === 0 ? [] : knownKeys(schema.element, path.slice(1));
  if (schema instanceof z.ZodRecord)
    return path.length === 0 ? [] : knownKeys(schema.valueType, path.slice(1));
  if (!(schema instanceof z.ZodObject)) return [];
  if (path.length === 0) return Object.keys(schema.shape);
  const inner = schema.shape[String(path[0])];
  return inner === undefined ? [] : knownKeys(inner, path.slice(1));
}

function expectedOf(issue: Issue): string {
  if (issue.code !== 'invalid_type') return issue.message;
  if (!issue.message.startsWith('Invalid input')) return issue.message;
  return (
    { object: 'a mapping', record: 'a mapping', array: 'a list', string: 'text' }[issue.expected as string] ??
    `a ${issue.expected}`
  );
}

function valueAt(value: unknown, path: readonly PathStep[]): unknown {
  let current = value;
  for (const step of path) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, step)) return undefined;
    current = Object.entries(current).find(([key]) => key === String(step))?.[1];
  }
  return current;
}
