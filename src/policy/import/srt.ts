import { stringify } from 'yaml';
import { nearest } from '../../base/nearest.ts';
import { formatPath, parsePolicyFile, type ParsedFile, type PathStep } from '../parse.ts';
import { printable, problemsError, quoteValue, type PolicyProblem } from '../problems.ts';
import { checkDocument, isProblems } from '../schema-errors.ts';
import { isMapping } from './srt-shapes.ts';
import { SRT_SECTIONS, SRT_TABLE, type SrtOutput, type SrtRow } from './srt-table.ts';

export interface SrtImport {
  /** A Glovebox policy. */
  readonly yaml: string;
  /** What was not carried over; empty unless `partial`. */
  readonly refused: readonly PolicyProblem[];
}

/**
 * Translates settings of Anthropic's sandbox-runtime (srt). Every key is carried over, or refused by its name with the reason: a
 * restriction that vanished on the way would be a hole.
 *
 * @throws E_POLICY_INVALID for misspelt keys and wrong values, and (unless `partial`) for keys that cannot be carried over
 */
export function importSrt(
  file: string,
  bytes: Uint8Array,
  options: { readonly partial: boolean },
): SrtImport {
  const parsed = parsePolicyFile(file, bytes);
  const out: SrtOutput = { allow: [], deny: [], read: [], write: [], denyPaths: [], protect: [], notes: [] };
  const invalid: PolicyProblem[] = [...unknownKeys(parsed)];
  const refused: PolicyProblem[] = [];
  for (const row of SRT_TABLE) applyRow(row, { parsed, out, invalid, refused });
  if (invalid.length > 0) throw problemsError(invalid);
  if (refused.length > 0 && !options.partial) throw problemsError(refused);
  const yaml = render(out, refused);
  checkResult(file, yaml);
  return { yaml, refused };
}

/** What comes out must be a policy: srt accepts paths that the language does not. */
function checkResult(file: string, yaml: string): void {
  const doc = checkDocument(parsePolicyFile(file, Buffer.from(yaml)));
  if (!isProblems(doc)) return;
  throw problemsError(
    doc.map((problem): PolicyProblem =>
      Object.assign({}, problem, { position: undefined, key: `translated ${problem.key}` }),
    ),
  );
}

interface ImportState {
  readonly parsed: ParsedFile;
  readonly out: SrtOutput;
  readonly invalid: PolicyProblem[];
  readonly refused: PolicyProblem[];
}

function applyRow(row: SrtRow, state: ImportState): void {
  const path = row.key.split('.');
  const value = valueAt(state.parsed.value, path);
  if (value === undefined) return;
  const place = { position: state.parsed.at(path), key: row.key };
  const outcome = row.apply(value, state.out);
  if (outcome.kind === 'invalid')
    state.invalid.push({ ...place, found: quoteValue(value), expected: outcome.expected });
  if (outcome.kind === 'refused')
    state.refused.push({ ...place, why: `it cannot be carried over: ${outcome.why}` });
}

function unknownKeys(parsed: ParsedFile): readonly PolicyProblem[] {
  if (!isMapping(parsed.value))
    return [{ position: parsed.at([]), key: '', found: quoteValue(parsed.value), expected: 'srt settings' }];
  const known = SRT_TABLE.map((row) => row.key);
  return Object.entries(parsed.value).flatMap(([key, value]): readonly PolicyProblem[] => {
    if (!SRT_SECTIONS.includes(key))
      return known.includes(key)
        ? []
        : [unknown(parsed, [key], [...SRT_SECTIONS, ...known.filter((name) => !name.includes('.'))])];
    if (!isMapping(value))
      return [{ position: parsed.at([key]), key, found: quoteValue(value), expected: 'a mapping' }];
    const inner = known
      .filter((name) => name.startsWith(`${key}.`))
      .map((name) => name.slice(key.length + 1));
    return Object.keys(value)
      .filter((name) => !inner.includes(name))
      .map((name) => unknown(parsed, [key, name], inner));
  });
}

function unknown(parsed: ParsedFile, path: readonly PathStep[], known: readonly string[]): PolicyProblem {
  const near = nearest(String(path.at(-1)), known);
  return {
    position: parsed.keyAt(path),
    key: formatPath(path),
    why: 'srt has no such key',
    ...(near === undefined ? {} : { nearest: near }),
  };
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  let current = value;
  for (const step of path) {
    if (!isMapping(current) || !Object.hasOwn(current, step)) return undefined;
    current = current[step];
  }
  return current;
}

function render(out: SrtOutput, refused: readonly PolicyProblem[]): string {
  const comments = [
    'Translated from srt settings.',
    'srt shows the whole disk but what is denied; Glovebox shows the workspace, the base system and what `read` names.',
    ...out.notes,
    ...refused.map((problem) => `NOT CARRIED OVER ${problem.key}: ${problem.why ?? ''}`),
  ];
  // The working directory is the workspace, which is writable by itself.
  const write = out.write.filter((text) => !/^\.?\/?$/.test(text) && text !== '.');
  const policy = {
    version: 1,
    extends: ['profile:default'],
    filesystem: withoutEmpty({ read: out.read, write, deny: out.denyPaths, protect: out.protect }),
    network: withoutEmpty({ allow: out.allow, deny: out.deny }),
    process: out.nesting === true ? { nesting: true } : {},
  };
  return `${comments.map((line) => `# ${printable(line)}`).join('\n')}\n${stringify(withoutEmpty(policy))}`;
}

function withoutEmpty(value: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).filter(
      ([, member]) => typeof member !== 'object' || member === null || Object.keys(member).length > 0,
    ),
  );
}
