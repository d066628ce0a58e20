import { parseAuthority } from './authority.ts';
import type { CanonicalHost } from './authority.ts';

/** A CONNECT request head, or why it is refused. `used` bytes belong to the head; the rest is the client's first bytes. */
export type ConnectHeadResult =
  | { readonly state: 'more' }
  | { readonly state: 'bad'; readonly why: string; readonly status: 400 | 431 }
  | { readonly state: 'connect'; readonly used: number; readonly host: CanonicalHost; readonly port: number };

/** A CONNECT head holds a request line, Host, and a few proxy headers. */
export const CONNECT_HEAD_MAX = 16 * 1024;
const HEAD_LINES_MAX = 64;

/** True while the bytes could begin a CONNECT request. */
export function looksLikeConnect(bytes: Uint8Array): boolean {
  const word = 'CONNECT ';
  for (let i = 0; i < Math.min(bytes.length, word.length); i++)
    if (bytes[i] !== word.charCodeAt(i)) return false;
  return true;
}

/**
 * Reads a CONNECT head (RFC 9110 §9.3.6): authority-form only, CRLF line ends only, no body, no folded lines, and a Host that
 * agrees. Node's own parser passes URLs, user information and ports over 65535 here, so this one is separate and strict.
 */
export function readConnectHead(bytes: Uint8Array): ConnectHeadResult {
  const end = headEnd(bytes);
  if (end === undefined) {
    return bytes.length >= CONNECT_HEAD_MAX ? bad('a request head over 16 KiB', 431) : { state: 'more' };
  }
  const [line = '', ...headers] = String.fromCharCode(...bytes.subarray(0, end)).split('\r\n');
  if (headers.length > HEAD_LINES_MAX) return bad(`over ${HEAD_LINES_MAX} header lines`, 431);
  const request = /^CONNECT ([\x21-\x7e]+) HTTP\/1\.[01]$/.exec(line);
  if (request === null) return bad('a CONNECT line that is malformed');
  const authority = parseAuthority(request[1] ?? '');
  if (!authority.ok) return bad(`a CONNECT authority that is malformed: ${authority.why}`);
  const why = headerProblem(headers, authority.host.host, authority.port);
  if (why !== undefined) return bad(why);
  return { state: 'connect', used: end + 4, host: authority.host, port: authority.port };
}

/** Checks header lines ("name: value") of a CONNECT; undefined when all is well. */
export function headerProblem(lines: readonly string[], host: string, port: number): string | undefined {
  let hosts = 0;
  for (const line of lines) {
    const parts = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/.exec(line);
    if (parts === null) return 'a header line that is malformed';
    const name = (parts[1] ?? '').toLowerCase();
    // A tunnel request has no body; what followed would be read as the tunnel's first bytes by some, as a body by others.
    if (name === 'content-length' || name === 'transfer-encoding') return 'a CONNECT with a body';
    if (name !== 'host') continue;
    hosts++;
    const named = parseAuthority(parts[2] ?? '', port);
    if (!named.ok || named.host.host !== host || named.port !== port)
      return 'a Host header that differs from the authority';
  }
  return hosts > 1 ? 'more than one Host header' : undefined;
}

function headEnd(bytes: Uint8Array): number | undefined {
  for (let i = 0; i + 3 < bytes.length; i++) {
    if (bytes[i] === 13 && bytes[i + 1] === 10 && bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return undefined;
}

function bad(why: string, status: 400 | 431 = 400): ConnectHeadResult {
  return { state: 'bad', why, status };
}
