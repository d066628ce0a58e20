import { foldCase } from './http-path-case.ts';

/** One parameter of a query, decoded once. */
export interface QueryParameter {
  readonly name: string;
  readonly value: string;
}

export type QueryResult =
  | { readonly ok: true; readonly parameters: readonly QueryParameter[] }
  | { readonly ok: false; readonly why: string };

/** A parameter as different readers may understand it: for refusals. */
export interface LooseParameter {
  /** Folded. */
  readonly names: ReadonlySet<string>;
  readonly values: readonly string[];
}

/** Beyond this, origins drop parameters silently (Node's querystring and PHP at 1,000), each at its own number. */
export const QUERY_PARAMETERS_MAX = 256;

/** Names in a record. */
const NAMES_MAX = 64;
const NAME_CHARS_MAX = 64;

/** Rounds of decoding that are tried on a parameter that may be refused: two readers in a row, and one to spare. */
const LOOSE_ROUNDS = 3;

/**
 * Parses a query (without "?") for a rule that names parameters. Refused is what two readers may split or decode differently:
 * `;`, invalid escapes, "+", control bytes or double escapes in a name or in a ruled value, and names that only look like a ruled one
 * (`REF`, `ref[]`, `r%65f`).
 */
export function readQuery(text: string, ruled: ReadonlySet<string>): QueryResult {
  if (/[^\x21-\x7e]|#/.test(text)) return no('a byte in the query that is not visible ASCII');
  if (text.includes(';')) return no('a ";" in the query, which some readers take for a separator');
  if (/%(?![0-9a-fA-F]{2})/.test(text)) return no('an invalid escape in the query');
  const pieces = text.split('&').filter((piece) => piece !== '');
  if (pieces.length > QUERY_PARAMETERS_MAX) return no(`over ${QUERY_PARAMETERS_MAX} query parameters`);
  const folded = new Set([...ruled].map(foldName));
  const parameters: QueryParameter[] = [];
  for (const piece of pieces) {
    const parameter = readParameter(piece, ruled, folded);
    if ('why' in parameter) return no(parameter.why);
    parameters.push(parameter);
  }
  return { ok: true, parameters };
}

/** Every parameter in every spelling: split at "&" and ";", decoded up to three times, names folded and cut at "[" and NUL. */
export function looseQuery(text: string): LooseParameter[] {
  return text
    .split(/[&;]/)
    .filter((piece) => piece !== '')
    .map((piece) => {
      const { name, value } = cut(piece);
      if (!/[^\w.=&-]/.test(piece)) return { names: new Set([name.toLowerCase()]), values: [value] };
      return { names: new Set(spellings(name).map(foldName)), values: spellings(value) };
    });
}

/** The one form in which names are compared for refusals. */
export function foldName(name: string): string {
  return foldCase(name.replace(/[[\0].*$/s, '')).trim();
}

/** Names of the parameters for a record: printable, bounded, each once. */
export function queryNames(text: string): string[] {
  if (text === '') return [];
  const names = new Set<string>();
  for (const piece of text.split('&', NAMES_MAX)) {
    const { name } = cut(piece);
    const shown = (decode(name) ?? name).replace(/[^\x20-\x7e]/g, '?').slice(0, NAME_CHARS_MAX);
    if (shown !== '') names.add(shown);
  }
  return [...names];
}

type Read = QueryParameter | { readonly why: string };

function readParameter(piece: string, ruled: ReadonlySet<string>, folded: ReadonlySet<string>): Read {
  const raw = cut(piece);
  const name = decode(raw.name);
  if (name === undefined) return { why: 'a query name that is not valid UTF-8' };
  if (raw.name.includes('+')) return { why: 'a "+" in a query name, which is a blank for some readers' };
  if (/[\x00-\x1f\x7f]/.test(name)) return { why: 'a control byte in a query name' };
  const candidate = spellings(raw.name).some((spelling) => folded.has(foldName(spelling)));
  if (!candidate) return { name, value: decode(raw.value) ?? raw.value };
  if (!ruled.has(name) || (raw.name !== name && raw.name !== encodeURIComponent(name)))
    return { why: 'a query name that only looks like one the rule names' };
  return readRuled(name, raw.value);
}

/** The value of a parameter that a rule compares. */
function readRuled(name: string, raw: string): Read {
  const value = decode(raw);
  if (value === undefined) return { why: 'a ruled query value that is not valid UTF-8' };
  if (raw.includes('+')) return { why: 'a "+" in a ruled query value, which is a blank for some readers' };
  if (/[\x00-\x1f\x7f]/.test(value)) return { why: 'a control byte in a ruled query value' };
  if (/%(?:[0-9a-fA-F]{2}|[uU])/.test(value)) return { why: 'a double escape in a ruled query value' };
  return { name, value };
}

function cut(piece: string): { readonly name: string; readonly value: string } {
  const at = piece.indexOf('=');
  return at < 0 ? { name: piece, value: '' } : { name: piece.slice(0, at), value: piece.slice(at + 1) };
}

function decode(text: string): string | undefined {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The text, and what repeated lenient decoding makes of it, with "+" as itself and as a blank. */
function spellings(text: string): string[] {
  const found = [text];
  let current = text;
  for (let round = 0; round < LOOSE_ROUNDS; round++) {
    const next = decode(current) ?? lenient(current);
    if (next === current) break;
    found.push(next);
    current = next;
  }
  return text.includes('+') ? found.flatMap((one) => [one, one.replaceAll('+', ' ')]) : found;
}

/** Decodes what can be decoded, byte by byte. */
function lenient(text: string): string {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function no(why: string): QueryResult {
  return { ok: false, why };
}
