import type { CredentialPlace } from '../policy/contract.ts';

/** A range of a header's value, or of the target. */
export interface Spot {
  readonly at: 'header' | 'target';
  /** Of the value in the raw header list; 0 for the target. */
  readonly index: number;
  readonly start: number;
  readonly end: number;
}

/** One strict reading of a place: what stands there, and how to write something else there. Text holds bytes (latin1). */
export interface Reading {
  readonly place: CredentialPlace;
  readonly spot: Spot;
  /** One token; for Basic user and password. */
  readonly parts: readonly string[];
  readonly encode: (parts: readonly string[]) => string;
}

/** RFC 9110 §11.4 allows several spaces and any case; one space is what every client sends, and more is refused. */
const SCHEME = /^(bearer|token) ([\x21-\x7e]+)$/i;

/** `Bearer x` and `token x`. */
export function schemeReading(name: string, value: string, index: number): Reading | undefined {
  const parts = SCHEME.exec(value);
  const [, word = '', token = ''] = parts ?? [];
  if (parts === null) return undefined;
  return {
    place: { kind: 'header', name, scheme: word.toLowerCase() === 'bearer' ? 'bearer' : 'token' },
    spot: { at: 'header', index, start: word.length + 1, end: value.length },
    parts: [token],
    encode: ([text = '']) => text,
  };
}

/** RFC 7617, canonical base64 only: another spelling could be read in another way by the origin. */
export function basicReading(name: string, value: string, index: number): Reading | undefined {
  const [, word = '', coded = ''] = /^(basic) ([A-Za-z0-9+/]+={0,2})$/i.exec(value) ?? [];
  const plain = Buffer.from(coded, 'base64');
  if (coded === '' || plain.toString('base64') !== coded) return undefined;
  const pair = plain.toString('latin1');
  const colon = pair.indexOf(':');
  if (colon === -1) return undefined;
  return {
    place: { kind: 'header', name, scheme: 'basic' },
    spot: { at: 'header', index, start: word.length + 1, end: value.length },
    parts: [pair.slice(0, colon), pair.slice(colon + 1)],
    encode: ([user = '', password = '']) => Buffer.from(`${user}:${password}`, 'latin1').toString('base64'),
  };
}

/**
 * A subprotocol that is the token, or ends in `.` and the token (`openai-insecure-api-key.…`), or in `.` and its base64url
 * (`base64url.bearer.authorization.k8s.io.…`). Tokens may hold dots, so every dot is tried.
 */
export function subprotocolReading(entry: string, spot: Spot): readonly Reading[] {
  const place = { kind: 'ws-protocol' } as const;
  const readings: Reading[] = [];
  for (let from = 0; from !== -1 && readings.length < 32; from = nextStart(entry, from)) {
    const text = entry.slice(from);
    const at = { ...spot, start: spot.start + from };
    readings.push({ place, spot: at, parts: [text], encode: ([token = '']) => token });
    const plain = Buffer.from(text, 'base64url');
    if (text === '' || plain.toString('base64url') !== text) continue;
    readings.push({
      place,
      spot: at,
      parts: [plain.toString('latin1')],
      encode: ([token = '']) => Buffer.from(token, 'latin1').toString('base64url'),
    });
  }
  return readings;
}

function nextStart(entry: string, from: number): number {
  const dot = entry.indexOf('.', from);
  return dot === -1 ? -1 : dot + 1;
}

/** Beginnings of tokens that an origin may take whatever else stands beside them. */
const TOKEN_PREFIX =
  /^(gh[a-z]_|github_pat_|glpat-|sk-|sk_|rk_|pk_|xox|xapp-|npm_|pypi-|hf_|AIza|AKIA|ASIA|eyJ|gsk_|SG\.|dckr_|dop_|hvs\.|ATATT|ATBB|shp)/;

/**
 * True when the half of a Basic pair beside the placeholder cannot be a credential of its own: forges take a token as user or as
 * password, so a foreign one beside the placeholder could be the one that counts.
 */
export function isHarmlessPartner(text: string, role: 'user' | 'password'): boolean {
  if (text === '') return true;
  if (role === 'password') return /^(x-oauth-basic|x|api_token|token|unused|none|_)$/i.test(text);
  if (text.length > 128 || TOKEN_PREFIX.test(text)) return false;
  // Names of people and machines are short words; 20 letters and digits in one run are a key.
  return !text
    .split(/[^A-Za-z0-9]+/)
    .some((run) => run.length >= 32 || (run.length >= 20 && /[0-9]/.test(run)));
}
