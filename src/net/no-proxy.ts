import { canonicalHost, parsePort } from './authority.ts';
import type { IpAddress } from './ip.ts';
import { parseIp } from './ip.ts';

/** One entry of a NO_PROXY list. There is no standard: this is what curl and Go agree on. */
export interface NoProxyEntry {
  readonly port: number | undefined;
  readonly match:
    | { readonly kind: 'all' }
    /** The name and everything below it; a leading dot or `*.` says the same. */
    | { readonly kind: 'name'; readonly name: string }
    | { readonly kind: 'range'; readonly network: IpAddress; readonly bits: number };
}

/** Reads an entry; undefined when it is none. An entry that is skipped sends more through the proxy, never less. */
export function parseNoProxyEntry(text: string): NoProxyEntry | undefined {
  if (text === '*') return { port: undefined, match: { kind: 'all' } };
  const range = parseRange(text);
  if (range !== undefined) return { port: undefined, match: range };
  const { host, port } = splitPort(text);
  if (port === 'bad') return undefined;
  const ip = parseIp(host.replace(/^\[(.*)\]$/, '$1'));
  if (ip !== undefined) return { port, match: { kind: 'range', network: ip, bits: ip.bytes.length * 8 } };
  const name = canonicalHost(host.replace(/^(?:\*)?\./, ''));
  return name.ok && name.value.kind === 'name'
    ? { port, match: { kind: 'name', name: name.value.host } }
    : undefined;
}

/** True when a destination is reached without the proxy. `host` is canonical: a name, or the text of an address. */
export function bypassesProxy(entries: readonly NoProxyEntry[], host: string, port: number): boolean {
  const ip = parseIp(host);
  return entries.some(
    (entry) => (entry.port === undefined || entry.port === port) && covers(entry.match, host, ip),
  );
}

function covers(match: NoProxyEntry['match'], host: string, ip: IpAddress | undefined): boolean {
  if (match.kind === 'all') return true;
  if (match.kind === 'name') return host === match.name || host.endsWith(`.${match.name}`);
  return ip !== undefined && inRange(ip, match.network, match.bits);
}

/** True when the first `bits` bits are equal. */
function inRange(ip: IpAddress, network: IpAddress, bits: number): boolean {
  if (ip.version !== network.version) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (ip.bytes[i] !== network.bytes[i]) return false;
  const rest = 8 - (bits & 7);
  return rest === 8 || (ip.bytes[whole] ?? 0) >> rest === (network.bytes[whole] ?? 0) >> rest;
}

function parseRange(text: string): NoProxyEntry['match'] | undefined {
  const parts = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  if (parts === null) return undefined;
  const network = parseIp(parts[1] ?? '');
  const bits = Number(parts[2]);
  return network === undefined || bits > network.bytes.length * 8
    ? undefined
    : { kind: 'range', network, bits };
}

function splitPort(text: string): { readonly host: string; readonly port: number | undefined | 'bad' } {
  // A bare IPv6 address is all colons; with a port it stands in brackets.
  const parts = /^(\[[^\]]*\]|[^:]*):([^:]*)$/.exec(text);
  if (parts === null) return { host: text, port: undefined };
  return { host: parts[1] ?? '', port: parsePort(parts[2] ?? '') ?? 'bad' };
}
