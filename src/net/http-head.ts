import { formatAuthority, parseAuthority } from './authority.ts';
import type { CanonicalHost } from './authority.ts';

/** Header lines as Node gives them in `rawHeaders`: name, value, name, value. Merged views hide duplicates. */
export type RawHeaders = readonly string[];

/** A refusal of a request head, with the status that says it best. */
export interface HeadProblem {
  readonly ok: false;
  readonly status: 400 | 405 | 417 | 421 | 431 | 501;
  readonly why: string;
}

/** How the body of a request is delimited (RFC 9112 §6). */
export type Body =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'chunked' };

/** How the body of a response is delimited; `close`: by the end of its connection. */
export type ResponseBody = Body | { readonly kind: 'close' };

export interface HeadFacts {
  readonly ok: true;
  readonly body: Body;
  /** The one Host header, canonical. */
  readonly host: CanonicalHost;
  /** The port it names, when it names one. */
  readonly hostPort: number | undefined;
}

/** Browsers send about 20 header lines, gRPC clients 10; Node by itself drops lines past 1,000 silently. */
export const HEADER_LINES_MAX = 256;

/** Methods that may pass: RFC 9110, PATCH, and WebDAV for git and subversion. TRACE echoes credentials, CONNECT is its own entry. */
export const METHODS: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'PROPFIND',
  'PROPPATCH',
  'MKCOL',
  'COPY',
  'MOVE',
  'LOCK',
  'UNLOCK',
  'REPORT',
  'MKACTIVITY',
  'CHECKOUT',
  'MERGE',
  'SEARCH',
]);

/** RFC 9110 §7.6.1 and the older `Keep-Alive`, `Proxy-*`; those that this gateway writes itself; RFC 7540's upgrade leftovers. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

const REBUILT: ReadonlySet<string> = new Set(['host', 'content-length', 'expect']);

/** Never hop-by-hop (RFC 9110 §7.6.1): a Connection header that names one takes away what a later hop added (CVE-2024-45410). */
const END_TO_END =
  /^(?:host|content-.*|expect|range|origin|cookie|.*auth.*|.*key|.*token|.*secret|.*session.*)$/;

/** Alt-Svc moves a client to QUIC or another host (RFC 7838); the others are ours to say, not an origin's. */
const RESPONSE_ONLY: ReadonlySet<string> = new Set(['alt-svc', 'x-glovebox-denied']);

/** Lengths that a dropped name has: only such names are worth lower-casing. */
const REQUEST_LENGTHS = lengthsOf([...HOP_BY_HOP, ...REBUILT]);
const RESPONSE_LENGTHS = lengthsOf([...HOP_BY_HOP, ...RESPONSE_ONLY, 'content-length']);

/** Checks what a grammar leaves open: method, header count, Host, and every ambiguity of framing (RFC 9112 §6.1, §6.3). */
export function judgeHead(method: string, httpVersion: string, headers: RawHeaders): HeadFacts | HeadProblem {
  if (!METHODS.has(method)) return problem(405, `the method "${method.slice(0, 32)}" is not allowed`);
  if (headers.length / 2 > HEADER_LINES_MAX) return problem(431, `over ${HEADER_LINES_MAX} header lines`);
  const found = findFraming(headers);
  const body = judgeFraming(httpVersion, found);
  if ('ok' in body) return body;
  if (namesEndToEnd(headers)) return problem(400, 'a Connection header that names an end-to-end header');
  if (found.host === undefined || found.hosts > 1)
    return problem(400, 'not exactly one Host header (RFC 9112 §3.2)');
  const authority = parseAuthority(found.host, 0);
  if (!authority.ok) return problem(400, `a Host header that is malformed: ${authority.why}`);
  return {
    ok: true,
    body,
    host: authority.host,
    hostPort: authority.port === 0 ? undefined : authority.port,
  };
}

/** The headers that delimit a message and name its host: the last of each, and how many there are. */
interface Framing {
  host: string | undefined;
  hosts: number;
  coding: string | undefined;
  codings: number;
  length: string | undefined;
  lengths: number;
}

function findFraming(headers: RawHeaders): Framing {
  const found: Framing = {
    host: undefined,
    hosts: 0,
    coding: undefined,
    codings: 0,
    length: undefined,
    lengths: 0,
  };
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    // Lower-casing every name of every request would cost more than the rest of this function.
    if (name.length !== 4 && name.length !== 14 && name.length !== 17) continue;
    const key = name.toLowerCase();
    if (key === 'host') {
      found.host = headers[i + 1];
      found.hosts++;
    } else if (key === 'content-length') {
      found.length = headers[i + 1];
      found.lengths++;
    } else if (key === 'transfer-encoding') {
      found.coding = headers[i + 1];
      found.codings++;
    }
  }
  return found;
}

function judgeFraming(httpVersion: string, found: Framing): Body | HeadProblem {
  const { coding, length } = found;
  if (coding !== undefined) {
    if (found.codings > 1 || coding.toLowerCase() !== 'chunked')
      return problem(400, 'a Transfer-Encoding other than "chunked"');
    if (length !== undefined) return problem(400, 'both Transfer-Encoding and Content-Length');
    if (httpVersion !== '1.1') return problem(400, 'Transfer-Encoding in HTTP/1.0');
    return { kind: 'chunked' };
  }
  if (length === undefined) return { kind: 'none' };
  if (found.lengths > 1 || !isLength(length))
    return problem(400, 'a Content-Length that is not one plain number');
  return { kind: 'length', bytes: Number(length) };
}

/** How the body of a response to `method` is delimited (RFC 9112 §6.3), or why the response is refused. */
export function judgeResponseFraming(
  method: string,
  status: number,
  httpVersion: string,
  headers: RawHeaders,
): ResponseBody | HeadProblem {
  const found = findFraming(headers);
  // Also where no body follows: what is ambiguous here would be believed by somebody.
  const framing = judgeFraming(httpVersion, found);
  if ('ok' in framing) return framing;
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return { kind: 'none' };
  return framing.kind === 'none' ? { kind: 'close' } : framing;
}

/** 1 to 15 digits: below 2^53, so no reader wraps it. */
function isLength(text: string): boolean {
  if (text.length === 0 || text.length > 15) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 48 || code > 57) return false;
  }
  return true;
}

/** A request target in the form that the entry wants. */
export type TargetResult =
  | { readonly ok: true; readonly path: string; readonly host?: CanonicalHost; readonly port?: number }
  | HeadProblem;

/** Origin-form, or `*` with OPTIONS (RFC 9112 §3.2.1, §3.2.4). */
export function readOriginTarget(method: string, target: string): TargetResult {
  if (target === '*' && method === 'OPTIONS') return { ok: true, path: target };
  return isPath(target)
    ? { ok: true, path: target }
    : problem(400, 'a request target that is not a plain path');
}

/** Absolute-form with the scheme http and no user information (RFC 9112 §3.2.2). The path may be left out. */
export function readAbsoluteTarget(target: string): TargetResult {
  const parts = /^http:\/\/([^/?#]+)([/?].*)?$/is.exec(target);
  if (parts === null)
    return problem(400, 'a request target that is not http://host/path; for https use CONNECT');
  const authority = parseAuthority(parts[1] ?? '', 80);
  if (!authority.ok) return problem(400, `a malformed host in the request target: ${authority.why}`);
  const rest = parts[2] ?? '/';
  const path = rest.startsWith('?') ? `/${rest}` : rest;
  if (!isPath(path)) return problem(400, 'a request target that is not a plain path');
  return { ok: true, path, host: authority.host, port: authority.port };
}

/** Visible ASCII without "#": a fragment in a target is cut by some origins and kept by others (CVE-2021-32779). */
function isPath(path: string): boolean {
  if (path.charCodeAt(0) !== 47) return false;
  for (let i = 1; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code < 0x21 || code > 0x7e || code === 0x23) return false;
  }
  return true;
}

/** The request's headers for upstream: hop-by-hop ones gone, Host and length written anew, names that fold to framing ones gone. */
export function requestHeaders(headers: RawHeaders, facts: HeadFacts, host: string, port: number): string[] {
  const out = forwardedHeaders(headers, formatAuthority(host, port, 80));
  if (facts.body.kind === 'length') out.push('Content-Length', String(facts.body.bytes));
  if (facts.body.kind === 'chunked') out.push('Transfer-Encoding', 'chunked');
  return out;
}

/** As `requestHeaders`, without framing: whoever writes the message adds it. `authority` is the new Host. */
export function forwardedHeaders(headers: RawHeaders, authority: string): string[] {
  const out = ['Host', authority];
  const drop = droppedNames(headers);
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (drop?.has(name.toLowerCase()) === true) continue;
    if (REQUEST_LENGTHS[name.length] === 1) {
      // Some origins fold "_" to "-": `Transfer_Encoding` must not arrive as framing.
      const folded = name.toLowerCase().replaceAll('_', '-');
      if (REBUILT.has(folded) || HOP_BY_HOP.has(folded)) continue;
    }
    out.push(name, headers[i + 1] ?? '');
  }
  return out;
}

/** The response's headers for the client, for a status. */
export function responseHeaders(headers: RawHeaders, status: number): string[] {
  const out: string[] = [];
  const drop = droppedNames(headers);
  // RFC 9110 §8.6: no Content-Length with 1xx and 204; a client that believes it would wait for a body.
  const noLength = status < 200 || status === 204;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (drop?.has(name.toLowerCase()) === true) continue;
    if (RESPONSE_LENGTHS[name.length] === 1) {
      const key = name.toLowerCase();
      if (HOP_BY_HOP.has(key) || RESPONSE_ONLY.has(key)) continue;
      if (noLength && key === 'content-length') continue;
    }
    out.push(name, headers[i + 1] ?? '');
  }
  return out;
}

/** All values of a header, in order. */
export function valuesOf(headers: RawHeaders, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const key = headers[i] ?? '';
    if (key.length === name.length && key.toLowerCase() === name) values.push(headers[i + 1] ?? '');
  }
  return values;
}

/** The tokens of a comma-separated header, lower-case. */
export function tokensOf(headers: RawHeaders, name: string): string[] {
  return valuesOf(headers, name).flatMap((value) =>
    value.split(',').map((token) => token.trim().toLowerCase()),
  );
}

/** True for a well-formed WebSocket opening handshake (RFC 6455 §4.1). */
export function isWebSocketOpening(method: string, httpVersion: string, headers: RawHeaders): boolean {
  const upgrade = valuesOf(headers, 'upgrade');
  const key = valuesOf(headers, 'sec-websocket-key');
  const version = valuesOf(headers, 'sec-websocket-version');
  return (
    method === 'GET' &&
    httpVersion === '1.1' &&
    upgrade.length === 1 &&
    upgrade[0]?.toLowerCase() === 'websocket' &&
    tokensOf(headers, 'connection').includes('upgrade') &&
    key.length === 1 &&
    /^[A-Za-z0-9+/]{22}==$/.test(key[0] ?? '') &&
    version.length === 1 &&
    version[0] === '13'
  );
}

/** Names that the sender's Connection header makes hop-by-hop; undefined for the usual `keep-alive` and `close`. */
function droppedNames(headers: RawHeaders): ReadonlySet<string> | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (name.length !== 10 || name.toLowerCase() !== 'connection') continue;
    const value = headers[i + 1]?.toLowerCase();
    if (value !== 'keep-alive' && value !== 'close') return new Set(tokensOf(headers, 'connection'));
  }
  return undefined;
}

function namesEndToEnd(headers: RawHeaders): boolean {
  for (const name of droppedNames(headers) ?? [])
    if (!HOP_BY_HOP.has(name) && END_TO_END.test(name.replaceAll('_', '-'))) return true;
  return false;
}

function problem(status: HeadProblem['status'], why: string): HeadProblem {
  return { ok: false, status, why };
}

function lengthsOf(names: readonly string[]): Uint8Array {
  const lengths = new Uint8Array(64);
  for (const name of names) lengths[name.length] = 1;
  return lengths;
}
