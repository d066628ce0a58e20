import type { PathStep } from '../parse.ts';
import { members, type EgressReader } from './egress-reader.ts';
import { isMapping } from './srt-shapes.ts';

type Path = readonly PathStep[];

/** Where a secret comes from when the foreign file does not say, as our language writes it. */
export type SourceFor = (name: string) => unknown;

const KEYS = [
  'source',
  'expose',
  'placeholder',
  'hosts',
  'paths',
  'in',
  'decode',
  'wrongHost',
  'realSeen',
  'scrub',
];
/** What a credential does when nobody says where it stands. */
const DEFAULT_PLACES = ['header:authorization:bearer'];

/** The credentials of the native form, as our language writes them. */
export function credentialsOf(
  reader: EgressReader,
  value: unknown,
  path: Path,
  sourceFor: SourceFor | undefined,
): Record<string, unknown> {
  if (!isMapping(value)) {
    reader.fail(path, { expected: 'a mapping of names' });
    return {};
  }
  notePlaceholders(reader, value, path);
  return Object.fromEntries(
    members(value, path).map(([name, written, at]) => [
      name,
      credentialOf(reader, { name, written, path: at, sourceFor }),
    ]),
  );
}

interface Written {
  readonly name: string;
  readonly written: unknown;
  readonly path: Path;
  readonly sourceFor: SourceFor | undefined;
}

function credentialOf(
  reader: EgressReader,
  { name, written, path, sourceFor }: Written,
): Record<string, unknown> {
  const entry = reader.mapping(written, path, KEYS) ?? {};
  const only = (key: string, allowed: readonly unknown[], why: string): void => {
    if (entry[key] !== undefined) reader.only(entry[key], [...path, key], allowed, why);
  };
  only('placeholder', ['auto'], 'placeholders are random, one for each sandbox');
  only('decode', [null], 'the secret is used as it is');
  only('wrongHost', ['deny'], 'a placeholder for another host is always refused');
  only('realSeen', ['deny'], 'the secret itself never comes from a sandbox');
  if (entry['hosts'] === undefined)
    reader.fail(path, { expected: 'hosts', why: 'a credential without a host could go anywhere' });
  const source = sourceFor?.(name) ?? sourceOf(reader, entry['source'], [...path, 'source'], name);
  const isAws = isMapping(source) && 'accessKeyId' in source;
  return {
    from: source,
    ...(isAws ? {} : { in: entry['in'] ?? DEFAULT_PLACES }),
    ...(entry['hosts'] === undefined ? {} : { hosts: entry['hosts'] }),
    ...(entry['paths'] === undefined ? {} : { paths: entry['paths'] }),
    ...(entry['scrub'] === undefined ? {} : { scrub: entry['scrub'] }),
    ...exposeOf(reader, entry['expose'], [...path, 'expose']),
  };
}

/** `{ env }`, `{ file }`, `{ command }`; a value is checked and left out, with advice where to put it. */
function sourceOf(reader: EgressReader, value: unknown, path: Path, name: string): unknown {
  const stored = `store:${name}`;
  if (value === undefined) {
    reader.note(path, `it is not said; put the secret into the store: glovebox secrets set ${name}`);
    return stored;
  }
  const written = reader.mapping(value, path, ['env', 'file', 'command', 'value']) ?? {};
  const [kind, ...more] = Object.keys(written);
  if (kind === undefined || more.length > 0) {
    reader.fail(path, { expected: 'one of env, file, command and value' });
    return stored;
  }
  if (kind === 'command') return { command: written['command'] };
  if (kind === 'value') return storedValue(reader, written['value'], [...path, 'value'], name);
  return `${kind}:${reader.text(written[kind], [...path, kind]) ?? ''}`;
}

/** A secret does not stand in a policy; what could not be one is an error all the same. */
export function storedValue(reader: EgressReader, value: unknown, path: Path, name: string): string {
  if (typeof value !== 'string') reader.fail(path, { expected: 'text' });
  else if (/[\r\n\0]/.test(value))
    reader.fail(path, { expected: 'one line', why: 'a line break in a secret would split headers' });
  else if (value.length < 8)
    reader.fail(path, { expected: 'at least 8 characters', why: 'a shorter secret is found by chance' });
  reader.note(
    path,
    `a secret does not stand in a policy; put it into the store: glovebox secrets set ${name}`,
  );
  return `store:${name}`;
}

function exposeOf(reader: EgressReader, value: unknown, path: Path): Record<string, unknown> {
  if (value === undefined) return {};
  const written = reader.mapping(value, path, ['env', 'files']) ?? {};
  return { expose: { ...written } };
}

/** Two credentials with one placeholder could not be told apart. */
function notePlaceholders(reader: EgressReader, value: Readonly<Record<string, unknown>>, path: Path): void {
  const seen = new Map<string, string>();
  for (const [name, entry, at] of members(value, path)) {
    const placeholder = isMapping(entry) ? entry['placeholder'] : undefined;
    if (typeof placeholder !== 'string' || placeholder === 'auto') continue;
    const other = seen.get(placeholder);
    if (other === undefined) seen.set(placeholder, name);
    else
      reader.fail([...at, 'placeholder'], { expected: 'a placeholder of its own', why: `${other} has it` });
  }
}
