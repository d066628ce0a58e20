import { parseAuthority } from '../../net/authority.ts';
import { HEADER_LINES_MAX, readOriginTarget, valuesOf } from '../../net/http-head.ts';
import type { Body, RawHeaders } from '../../net/http-head.ts';
import { quoted } from '../rules/finding.ts';
import { isGrpcRequest } from './h2-grpc.ts';

/** A request head that is HTTP/2 in good order and meant for this connection. */
export interface H2Head {
  readonly ok: true;
  readonly method: string;
  readonly target: string;
  /** `host` first, from `:authority`; cookie crumbs joined; everything else as it came. */
  readonly headers: RawHeaders;
  readonly body: Body;
  readonly grpc: boolean;
  readonly expectsContinue: boolean;
}

/** Why a head is refused. */
export interface H2Refusal {
  readonly ok: false;
  readonly status: 400 | 405 | 417 | 421 | 431;
  readonly rule: 'structural.malformed' | 'structural.method' | 'structural.host-mismatch';
  readonly why: string;
}

/** What the connection was opened for. */
export interface H2Destination {
  /** Canonical. */
  readonly host: string;
  readonly port: number;
}

type Pseudo = Map<string, string>;

/** RFC 9113 §8.2.2, and the leftover of the cleartext upgrade. */
const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

const PSEUDO: ReadonlySet<string> = new Set([':method', ':scheme', ':authority', ':path']);

/** RFC 9113 §8.2.1: a token without upper case. */
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

/** RFC 9110 §5.5: no control bytes but tab, no space at either end; Latin-1 passes as it came. */
const VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;

/**
 * Checks a head (RFC 9113 §8.1.1, §8.2, §8.3) and turns it into what the rules read. Node's own parser resets streams with an upper-case
 * name, a late, repeated or unknown pseudo-header or a connection-specific one before this is asked, and it drops lines whose name or value
 * holds a forbidden byte without a trace: they reach neither the rules nor the origin. The rest is decided here, and so is all of it again.
 */
export function readH2Head(
  raw: RawHeaders,
  ended: boolean,
  destination: H2Destination,
  maxBytes: number,
): H2Head | H2Refusal {
  const oversize = judgeSize(raw, maxBytes);
  if (oversize !== undefined) return oversize;
  const pseudo: Pseudo = new Map();
  const rest: string[] = [];
  for (const [name, value] of pairsOf(raw)) {
    const why = name.startsWith(':')
      ? judgePseudo(name, value, pseudo, rest.length > 0)
      : judgeField(name, value);
    if (why !== undefined) return malformed(why);
    if (name.startsWith(':')) pseudo.set(name, value);
    else rest.push(name, value);
  }
  return readRequest(pseudo, rest, ended, destination);
}

/** Header name and value pairs of a flat list. */
export function* pairsOf(headers: RawHeaders): Generator<readonly [string, string]> {
  for (let i = 0; i + 1 < headers.length; i += 2) yield [headers[i] ?? '', headers[i + 1] ?? ''];
}

/** True for a line that may stand in an HTTP/2 head or trailer section. */
export function isField(name: string, value: string): boolean {
  return NAME.test(name) && VALUE.test(value);
}

/** True for names that mean something to one HTTP/1 connection only and may not stand in HTTP/2. */
export function isConnectionSpecific(name: string): boolean {
  return CONNECTION_SPECIFIC.has(name);
}

function judgeSize(raw: RawHeaders, maxBytes: number): H2Refusal | undefined {
  const lines = raw.length / 2 - PSEUDO.size;
  if (lines > HEADER_LINES_MAX) return refusal(431, `over ${HEADER_LINES_MAX} header lines`);
  // RFC 9113 §6.5.2 counts 32 bytes of overhead for each line.
  let bytes = raw.length * 16;
  for (const text of raw) bytes += text.length;
  return bytes > maxBytes ? refusal(431, `header lines of over ${maxBytes} bytes`) : undefined;
}

function judgePseudo(name: string, value: string, known: Pseudo, late: boolean): string | undefined {
  if (!PSEUDO.has(name)) return `the pseudo-header ${quoted(name)}`;
  if (known.has(name)) return `two ${name} (RFC 9113 §8.3)`;
  if (late) return `${name} after ordinary header lines (RFC 9113 §8.3)`;
  return /^[\x21-\x7e]+$/.test(value) ? undefined : `${name} with other than visible ASCII`;
}

function judgeField(name: string, value: string): string | undefined {
  if (!NAME.test(name)) return 'a header name that is not a lower-case token';
  if (!VALUE.test(value)) return `a forbidden byte in the header ${quoted(name)}`;
  if (CONNECTION_SPECIFIC.has(name)) return `the connection-specific header ${name} (RFC 9113 §8.2.2)`;
  if (name === 'te' && value.toLowerCase() !== 'trailers') return 'TE other than "trailers"';
  return undefined;
}

function readRequest(
  pseudo: Pseudo,
  rest: readonly string[],
  ended: boolean,
  destination: H2Destination,
): H2Head | H2Refusal {
  const method = pseudo.get(':method') ?? '';
  const path = pseudo.get(':path');
  const authority = pseudo.get(':authority');
  if (method === 'CONNECT') return refusal(405, 'the method CONNECT is not allowed', 'structural.method');
  if (!/^[A-Z-]{1,32}$/.test(method)) return malformed('a method that is not in upper case');
  if (pseudo.get(':scheme') !== 'https') return malformed(':scheme other than https on a TLS connection');
  if (path === undefined || authority === undefined) return malformed('no :path or no :authority');
  const target = readOriginTarget(method, path);
  if (!target.ok) return malformed(':path is not a plain path');
  const misdirected = judgeAuthority(authority, rest, destination);
  if (misdirected !== undefined) return misdirected;
  const body = judgeBody(rest, ended);
  if (typeof body === 'string') return malformed(body);
  const expects = valuesOf(rest, 'expect');
  if (expects.some((value) => value.toLowerCase() !== '100-continue'))
    return refusal(417, 'an expectation other than 100-continue');
  return {
    ok: true,
    method,
    target: path,
    headers: rebuilt(rest, authority),
    body,
    grpc: isGrpcRequest(rest),
    expectsContinue: expects.length > 0 && body.kind !== 'none',
  };
}

/** RFC 9113 §8.3.1. A connection belongs to one host: requests for another are sent elsewhere (RFC 9110 §7.4). */
function judgeAuthority(text: string, rest: RawHeaders, destination: H2Destination): H2Refusal | undefined {
  const authority = parseAuthority(text, 443);
  if (!authority.ok) return malformed(`an :authority that is malformed: ${authority.why}`);
  const { host, port } = authority;
  for (const value of valuesOf(rest, 'host')) {
    const named = parseAuthority(value, 443);
    if (!named.ok || named.host.host !== host.host || named.port !== port)
      return malformed('Host and :authority differ (RFC 9113 §8.3.1)');
  }
  if (host.host === destination.host && port === destination.port) return undefined;
  const why = `:authority asks for ${host.host} port ${port} on a connection to ${destination.host} port ${destination.port}`;
  return refusal(421, why, 'structural.host-mismatch');
}

function judgeBody(rest: RawHeaders, ended: boolean): Body | string {
  const lengths = valuesOf(rest, 'content-length');
  const [length] = lengths;
  if (length === undefined) return ended ? { kind: 'none' } : { kind: 'chunked' };
  if (lengths.length > 1 || !/^[0-9]{1,15}$/.test(length))
    return 'a Content-Length that is not one plain number';
  const bytes = Number(length);
  return ended && bytes > 0 ? 'a Content-Length without a body' : { kind: 'length', bytes };
}

/** RFC 9113 §8.2.3: cookie crumbs are one header again before anything but HTTP/2 reads them. */
function rebuilt(rest: RawHeaders, authority: string): string[] {
  const out = ['host', authority];
  const cookies = valuesOf(rest, 'cookie');
  let joined = false;
  for (const [name, value] of pairsOf(rest)) {
    if (name === 'host' || (name === 'cookie' && joined)) continue;
    joined ||= name === 'cookie';
    out.push(name, name === 'cookie' ? cookies.join('; ') : value);
  }
  return out;
}

function malformed(why: string): H2Refusal {
  return refusal(400, why);
}

function refusal(
  status: H2Refusal['status'],
  why: string,
  rule: H2Refusal['rule'] = 'structural.malformed',
): H2Refusal {
  return { ok: false, status, rule, why };
}
