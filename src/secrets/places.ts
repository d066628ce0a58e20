import type { RawHeaders } from '../net/http-head.ts';
import type { CredentialPlace } from '../policy/contract.ts';
import { basicReading, schemeReading, subprotocolReading } from './schemes.ts';
import type { Reading } from './schemes.ts';

/** One place of a request that carries, or could carry, a credential. */
export interface Bearing {
  /** For people: `header x-api-key`, `query api_key`. */
  readonly label: string;
  /** As it came. */
  readonly value: string;
  /** Every strict way to read it as a token. */
  readonly readings: readonly Reading[];
  /** Part of an AWS signature; judged together with the others. */
  readonly aws: boolean;
}

/** The parts of a request that places are looked for in. */
export interface RequestParts {
  readonly target: string;
  readonly headers: RawHeaders;
}

/** Headers that bear a credential by themselves. Compared folded. */
const HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'cookie2',
  'auth',
  'x-auth',
  'x-auth-key',
  'x-auth-email',
  'x-key',
  'key',
  'ocp-apim-subscription-key',
  'x-functions-key',
  'x-master-key',
  'x-access-key',
  'x-amz-security-token',
  'x-rapidapi-key',
  'subscription-key',
  'dd-application-key',
  'dpop',
]);
const HEADER_FAMILY =
  /(token|apikey|(^|-)(api-key|(app|access|account|client|consumer|license|service|user)-?key|secret|secret-key|password|authorization|authentication|session-key|jwt|jwt-assertion|bearer|credentials?))$/;

const QUERIES: ReadonlySet<string> = new Set([
  'key',
  'token',
  'sig',
  'signature',
  'auth',
  'authorization',
  'password',
  'secret',
  'client-secret',
  'client-assertion',
  'access-key',
  'accesskey',
  'subscription-key',
  'x-api-key',
  'authentication',
  'credential',
  'credentials',
  'awsaccesskeyid',
  'googleaccessid',
  'bearer',
  'jwt',
  'passwd',
  'hapikey',
  // Whole headers, and so any credential (whatwg/fetch#210, as Google's APIs have it).
  'httpheaders',
]);
/** Not every name that ends in "token": pages of a list are asked for by one. */
const QUERY_FAMILY =
  /(^|-)(api-?key|(access|api|app|auth|bearer|deploy|feed|id|incoming-email|job|oauth|personal-access|private|refresh|rss|security|session|user)-?token|(api|app|client|consumer|oauth)-?secret|(app|consumer|oauth-consumer|private|secret)-?key|oauth-signature)$/;
const QUERY_PREFIX = /^x-(amz|goog)-/;

/** A WebSocket subprotocol that is a plain name: short words with a version, and none that speaks of credentials. */
const PLAIN_SUBPROTOCOL =
  /^(?:[A-Za-z]{1,16}(?:[0-9]{1,3}[A-Za-z]{0,3})?|[0-9]{1,4})(?:[.+-](?:[A-Za-z]{1,16}(?:[0-9]{1,3}[A-Za-z]{0,3})?|[0-9]{1,4})){0,6}$/;
/** A bare word that announces the token behind it. */
const MARKER = /^(bearer|token|access[_-]?token|authorization|api[_-]?key|auth|jwt)$/i;
const SPEAKS_OF_CREDENTIALS = /key|token|auth|bearer|secret|passw|jwt|cred/i;

/** Longest name that is repeated in a reason. */
const LABEL_MAX = 40;

/** Everything in a request that bears a credential, or stands where one of the `listed` places is. */
export function collectBearings(
  request: RequestParts,
  listed: readonly CredentialPlace[],
): readonly Bearing[] {
  const bearings = headerBearings(request.headers, listed);
  if (request.target.includes('?')) bearings.push(...queryBearings(request.target, listed));
  return bearings;
}

/** A name as it is compared: origins differ in what they take for equal, so everything that some origin folds is folded (RFC 3875 §4.1.18). */
export function foldName(name: string): string {
  return percentDecode(name)
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-');
}

/**
 * The names that some origin may read: PHP drops blanks in front and takes ".", " " and a stray "[" for "_", qs unwraps `[name]`, C ends
 * a text at NUL, and a second decoder may stand behind the first.
 */
function queryNames(name: string): readonly string[] {
  if (/^[\w-]*$/.test(name)) return [foldName(name)];
  return [name, percentDecode(name)].flatMap((text) => {
    const [read = ''] = percentDecode(text.replaceAll('+', ' ')).split('\0', 1);
    const [before = ''] = read.trimStart().split('[', 1);
    return [before, read].map((part) => foldName(part).replace(/^-+|-+$/g, ''));
  });
}

/** One percent-decode, byte by byte; what is no escape stays as it is. */
export function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** `the header x-api-key`; not the name where it could itself be a secret. */
export function labelOf(kind: string, name: string): string {
  return /^[a-z]+([-_][a-z]+){0,5}$/i.test(name) && name.length <= LABEL_MAX
    ? `the ${kind} ${name.toLowerCase()}`
    : `a ${kind} with an unusual name`;
}

function headerBearings(headers: RawHeaders, listed: readonly CredentialPlace[]): Bearing[] {
  const bearings: Bearing[] = [];
  const names = new Set(listed.map((place) => (place.kind === 'header' ? place.name : '')));
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] ?? '').toLowerCase();
    const folded = foldName(name);
    const value = headers[i + 1] ?? '';
    if (folded === 'cookie') bearings.push(...cookieBearings(name, value, i + 1));
    if (folded === 'sec-websocket-protocol') bearings.push(...subprotocolBearings(value, i + 1));
    // A cookie header is not itself a place, unless a policy says so.
    if (folded === 'cookie' && !names.has(name)) continue;
    if (HEADERS.has(folded) || HEADER_FAMILY.test(folded) || names.has(name))
      bearings.push(headerBearing(name, value, i + 1));
  }
  return bearings;
}

function headerBearing(name: string, value: string, index: number): Bearing {
  const spot = { at: 'header', index } as const;
  const whole: Reading = {
    place: { kind: 'header', name },
    spot: { ...spot, start: 0, end: value.length },
    parts: [value],
    encode: ([token = '']) => token,
  };
  const schemes = [schemeReading(name, value, index), basicReading(name, value, index)];
  return {
    label: labelOf('header', name),
    value,
    readings: [whole, ...schemes.filter((reading) => reading !== undefined)],
    aws: name === 'x-amz-security-token' || (name === 'authorization' && value.startsWith('AWS4-')),
  };
}

function* cookieBearings(header: string, value: string, index: number): Generator<Bearing> {
  let at = 0;
  for (const piece of value.split(';')) {
    const start = at + (piece.length - piece.trimStart().length);
    const pair = piece.trim();
    at += piece.length + 1;
    const equals = pair.indexOf('=');
    const name = pair.slice(0, Math.max(0, equals));
    const token = pair.slice(equals + 1);
    const spot = { at: 'header', index, start: start + equals + 1, end: start + pair.length } as const;
    const reading: Reading = {
      place: { kind: 'cookie', name },
      spot,
      parts: [token],
      encode: ([text = '']) => text,
    };
    yield {
      label: labelOf('cookie', name),
      value: token,
      readings: header === 'cookie' && equals > 0 ? [reading] : [],
      aws: false,
    };
  }
}

function* subprotocolBearings(value: string, index: number): Generator<Bearing> {
  let at = 0;
  let announced = false;
  for (const piece of value.split(',')) {
    const start = at + (piece.length - piece.trimStart().length);
    const entry = piece.trim();
    at += piece.length + 1;
    const harmless = entry === '' || (!SPEAKS_OF_CREDENTIALS.test(entry) && PLAIN_SUBPROTOCOL.test(entry));
    const bears = announced || !harmless;
    announced = MARKER.test(entry);
    if (!bears || announced) continue;
    yield {
      label: 'a WebSocket subprotocol',
      value: entry,
      readings: subprotocolReading(entry, { at: 'header', index, start, end: start + entry.length }),
      aws: false,
    };
  }
}

/** True for the name of a query parameter, or of a form's field, that bears a credential: by itself, or because it is `listed`. */
export function bearsCredential(written: string, listed: ReadonlySet<string>): boolean {
  if (listed.has(written)) return true;
  return queryNames(written).some(
    (name) => QUERIES.has(name) || QUERY_FAMILY.test(name) || QUERY_PREFIX.test(name),
  );
}

function* queryBearings(target: string, listed: readonly CredentialPlace[]): Generator<Bearing> {
  const mark = target.indexOf('?');
  if (mark === -1) return;
  const names = new Set(listed.map((place) => (place.kind === 'query' ? place.name : '')));
  for (const part of queryParts(target, mark + 1)) {
    if (!bearsCredential(part.name, names)) continue;
    const aws = queryNames(part.name).some((name) => name.startsWith('x-amz-'));
    const reading: Reading = {
      place: { kind: 'query', name: part.name },
      spot: { at: 'target', index: 0, start: part.start, end: part.end },
      parts: [percentDecode(part.value)],
      encode: ([token = '']) => percentEncode(token),
    };
    yield {
      label: labelOf('query parameter', part.name),
      value: part.value,
      readings: part.plain ? [reading] : [],
      aws,
    };
  }
}

interface QueryPart {
  readonly name: string;
  readonly value: string;
  /** Of the value, in the target. */
  readonly start: number;
  readonly end: number;
  /** False when it is delimited by `;`, which only some origins take for a delimiter. */
  readonly plain: boolean;
}

function* queryParts(target: string, from: number): Generator<QueryPart> {
  let at = from;
  for (const group of target.slice(from).split('&')) {
    let start = at;
    const pieces = group.split(';');
    for (const piece of pieces) {
      const equals = piece.indexOf('=');
      const nameEnd = equals === -1 ? piece.length : equals;
      const valueStart = start + (equals === -1 ? piece.length : equals + 1);
      yield {
        name: piece.slice(0, nameEnd),
        value: target.slice(valueStart, start + piece.length),
        start: valueStart,
        end: start + piece.length,
        plain: pieces.length === 1,
      };
      start += piece.length + 1;
    }
    at += group.length + 1;
  }
}

/** RFC 3986 unreserved characters stay; everything else becomes an escape. `text` holds bytes (latin1). */
export function percentEncode(text: string): string {
  return text.replace(
    /[^A-Za-z0-9\-._~]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
