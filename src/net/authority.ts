import { parseIp } from './ip.ts';
import { canonicalName } from './name.ts';

/** A destination in canonical form: a name, or an address in the text form of `parseIp`. */
export interface CanonicalHost {
  readonly kind: 'name' | 'ip';
  readonly host: string;
}

export type HostResult =
  | { readonly ok: true; readonly value: CanonicalHost }
  | { readonly ok: false; readonly why: string };
export type AuthorityResult =
  | { readonly ok: true; readonly host: CanonicalHost; readonly port: number }
  | { readonly ok: false; readonly why: string };

/** The longest authority worth reading: a name, brackets or dot, colon and five digits. */
const AUTHORITY_MAX = 262;

/** Canonical form of a destination host, without brackets. */
export function canonicalHost(text: string): HostResult {
  const ip = parseIp(text);
  if (ip !== undefined) return { ok: true, value: { kind: 'ip', host: ip.text } };
  if (text.includes(':')) return { ok: false, why: 'it is neither a name nor an address' };
  const name = canonicalName(text);
  return name.ok
    ? { ok: true, value: { kind: 'name', host: name.name } }
    : { ok: false, why: `it has ${name.why}` };
}

/**
 * Reads `host:port` (RFC 9110 §9.3.6, RFC 3986 §3.2.2) without user information. IPv6 stands in brackets, names never do.
 * `fallbackPort` is used when there is no port; without it the port must be there.
 */
export function parseAuthority(text: string, fallbackPort?: number): AuthorityResult {
  if (text.length > AUTHORITY_MAX) return { ok: false, why: 'it is too long' };
  const parts = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text);
  if (parts === null) return { ok: false, why: 'it is not host:port' };
  const [, bracketed, plain, portText] = parts;
  const port = portText === undefined ? fallbackPort : parsePort(portText);
  if (port === undefined)
    return { ok: false, why: portText === undefined ? 'it has no port' : 'its port is not 1 to 65535' };
  if (bracketed !== undefined && parseIp(bracketed)?.version !== 6) {
    return { ok: false, why: 'brackets may hold an IPv6 address only' };
  }
  const host = canonicalHost(bracketed ?? plain ?? '');
  return host.ok ? { ok: true, host: host.value, port } : host;
}

/** A decimal port from 1 to 65535 without sign, space or leading zero. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

/** `host:port` as HTTP writes it: IPv6 in brackets, the default port left out. */
export function formatAuthority(host: string, port: number, defaultPort?: number): string {
  const text = host.includes(':') ? `[${host}]` : host;
  return port === defaultPort ? text : `${text}:${port}`;
}
