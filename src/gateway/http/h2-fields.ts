import { sensitiveHeaders } from 'node:http2';
import type { OutgoingHttpHeaders } from 'node:http2';
import type { RawHeaders } from '../../net/http-head.ts';
import { isConnectionSpecific, isField, pairsOf } from './h2-head.ts';

/** Fields that Node's HTTP/2 sends once at most (`kSingleValueHeaders`); a list of them throws. */
const SINGLE: ReadonlySet<string> = new Set(
  (
    'access-control-allow-credentials access-control-max-age access-control-request-method age authorization ' +
    'content-encoding content-language content-length content-location content-md5 content-range content-type date dnt ' +
    'etag expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location ' +
    'max-forwards proxy-authorization range referer retry-after tk upgrade-insecure-requests user-agent x-content-type-options'
  ).split(' '),
);

/** Of these the second value would mean something else: the message is refused. Of the others the first one stands. */
const DECISIVE: ReadonlySet<string> = new Set([
  'authorization',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'host',
  'location',
]);

/** Values that are worth guessing stay out of the compression tables (RFC 7541 §7.1.3). */
const SECRET = /auth|cookie|token|secret|key/;

export type Fields =
  | { readonly ok: true; readonly fields: OutgoingHttpHeaders }
  | { readonly ok: false; readonly why: string };

/**
 * Header lines as Node's HTTP/2 wants them: lower-case names, duplicates as lists in their order, connection-specific ones gone.
 * Node writes control bytes as they are, so they are refused here.
 */
export function toFields(pseudo: Readonly<Record<string, string | number>>, headers: RawHeaders): Fields {
  // Without a prototype: `__proto__` is a legal header name.
  const fields: Record<string, string | number | string[]> = Object.create(null);
  Object.assign(fields, pseudo);
  const secret: string[] = [];
  for (const [rawName, value] of pairsOf(headers)) {
    const name = rawName.toLowerCase();
    if (isConnectionSpecific(name)) continue;
    if (!isField(name, value))
      return { ok: false, why: `the header ${name.slice(0, 64)} has a forbidden byte` };
    const known = fields[name];
    if (known === undefined) {
      fields[name] = value;
      if (SECRET.test(name)) secret.push(name);
    } else if (!SINGLE.has(name)) fields[name] = [...(Array.isArray(known) ? known : [String(known)]), value];
    else if (DECISIVE.has(name) && known !== value)
      return { ok: false, why: `two different ${name} headers` };
  }
  if (secret.length > 0) Object.assign(fields, { [sensitiveHeaders]: secret });
  return { ok: true, fields };
}

/** Trailers (RFC 9110 §6.5): the same without pseudo-headers; what cannot be sent is left out. */
export function toTrailers(trailers: RawHeaders): OutgoingHttpHeaders {
  const kept: string[] = [];
  for (const [name, value] of pairsOf(trailers)) {
    const lower = name.toLowerCase();
    if (isField(lower, value) && !SINGLE.has(lower) && lower !== 'te') kept.push(lower, value);
  }
  const made = toFields({}, kept);
  return made.ok ? made.fields : {};
}

/** A received head as a flat list without its pseudo-headers. */
export function fromRaw(raw: RawHeaders): string[] {
  const out: string[] = [];
  for (const [name, value] of pairsOf(raw)) if (!name.startsWith(':')) out.push(name, value);
  return out;
}
