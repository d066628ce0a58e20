import { createHash, createHmac } from 'node:crypto';
import type { RawHeaders } from '../net/http-head.ts';

/** The parts of a request that are signed. Text holds bytes (latin1). */
export interface SignedRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: RawHeaders;
}

/** `20260101/eu-west-1/s3/aws4_request`. */
export interface CredentialScope {
  /** YYYYMMDD. */
  readonly date: string;
  readonly region: string;
  readonly service: string;
}

/** What one signature covers. */
export interface Coverage {
  readonly scope: CredentialScope;
  /** Lower case, sorted, as the request lists them. */
  readonly signedHeaders: readonly string[];
  /** YYYYMMDDTHHMMSSZ. */
  readonly date: string;
  /** Hex, or one of the words that stand for none. */
  readonly payloadHash: string;
}

/** S3 takes the path as it is; every other service normalises it and encodes it once more (AWS SigV4, "Create a canonical request"). */
const PLAIN_PATH: ReadonlySet<string> = new Set(['s3', 's3express', 's3-object-lambda', 's3-outposts']);

/** Parameter that a presigned URL's own signature leaves out. */
const SIGNATURE = 'X-Amz-Signature';

/**
 * The signature of a request under a secret key, hex. Undefined when a signed header is not there, or the query cannot be read in one
 * way only.
 */
export function signatureOf(
  request: SignedRequest,
  coverage: Coverage,
  secretKey: Uint8Array,
): string | undefined {
  const canonical = canonicalRequest(request, coverage);
  if (canonical === undefined) return undefined;
  const { date, region, service } = coverage.scope;
  const text = ['AWS4-HMAC-SHA256', coverage.date, scopeText(coverage.scope), sha256(canonical)].join('\n');
  const start = Buffer.concat([Buffer.from('AWS4'), secretKey]);
  const keys: Buffer[] = [start];
  for (const part of [date, region, service, 'aws4_request', text])
    keys.push(hmac(keys.at(-1) ?? start, part));
  const signature = keys.at(-1)?.toString('hex');
  for (const key of keys) key.fill(0);
  return signature;
}

export function scopeText(scope: CredentialScope): string {
  return `${scope.date}/${scope.region}/${scope.service}/aws4_request`;
}

/** The canonical request (exported for the published test vectors). */
export function canonicalRequest(request: SignedRequest, coverage: Coverage): string | undefined {
  const { target } = request;
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const query = canonicalQuery(mark === -1 ? '' : target.slice(mark + 1));
  const uri = canonicalUri(path, coverage.scope.service);
  const headers = coverage.signedHeaders.map((name) => canonicalHeader(request.headers, name));
  if (query === undefined || uri === undefined || headers.includes(undefined)) return undefined;
  const names = coverage.signedHeaders.join(';');
  return [request.method, uri, query, ...headers, '', names, coverage.payloadHash].join('\n');
}

function canonicalUri(path: string, service: string): string | undefined {
  if (!PLAIN_PATH.has(service)) return encodePath(normalisePath(path));
  const plain = decodeStrictly(path);
  return plain === undefined ? undefined : encodePath(plain === '' ? '/' : plain);
}

/** RFC 3986 §5.2.4, and empty segments away. */
function normalisePath(path: string): string {
  const out: string[] = [];
  const segments = path.split('/');
  for (const segment of segments) {
    if (segment === '..') out.pop();
    else if (segment !== '.' && segment !== '') out.push(segment);
  }
  const slash = ['', '.', '..'].includes(segments.at(-1) ?? '') && out.length > 0 ? '/' : '';
  return `/${out.join('/')}${slash}`;
}

function encodePath(path: string): string {
  return path.split('/').map(uriEncode).join('/');
}

function canonicalQuery(query: string): string | undefined {
  const pairs: (readonly [string, string])[] = [];
  for (const piece of query.split('&').filter((text) => text !== '')) {
    const equals = piece.indexOf('=');
    const name = decodeStrictly(equals === -1 ? piece : piece.slice(0, equals));
    const value = decodeStrictly(equals === -1 ? '' : piece.slice(equals + 1));
    if (name === undefined || value === undefined) return undefined;
    if (name !== SIGNATURE) pairs.push([uriEncode(name), uriEncode(value)]);
  }
  return pairs
    .sort((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

/** `name:value`, values trimmed, inner blanks made one, several lines joined by commas in their order. */
function canonicalHeader(headers: RawHeaders, name: string): string | undefined {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() === name)
      values.push((headers[i + 1] ?? '').trim().replace(/[ \t]+/g, ' '));
  }
  return values.length === 0 ? undefined : `${name}:${values.join(',')}`;
}

/** Byte by byte; undefined for a "%" that begins no escape. */
export function decodeStrictly(text: string): string | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) return undefined;
  return text.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** RFC 3986 unreserved stays, all else is escaped in upper case, the slash too. */
export function uriEncode(text: string): string {
  return text.replace(
    /[^A-Za-z0-9\-._~]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

export function sha256(data: string | Uint8Array): string {
  return createHash('sha256')
    .update(typeof data === 'string' ? Buffer.from(data, 'latin1') : data)
    .digest('hex');
}

function hmac(key: Uint8Array, data: string): Buffer {
  return createHmac('sha256', key).update(data, 'latin1').digest();
}
