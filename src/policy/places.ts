import type { CredentialPlace } from './contract.ts';

export const PLACE_EXPECTED =
  'a place: header:NAME, header:NAME:bearer (or basic, token), query:NAME, cookie:NAME, ws-protocol, sigv4 or body';

/** A header field name (RFC 9110 §5.1). */
export const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const PARAMETER_NAME = /^[\u0021-\u007e]{1,128}$/;
/** RFC 6265 §4.1.1. */
const COOKIE_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/;
const SCHEMES = ['bearer', 'basic', 'token'] as const;

/** Fields that frame or route a request, or belong to one hop: nothing of a policy may stand in them (RFC 9110 §7.6.1, RFC 9113 §8.2.2). */
const FRAMING: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'proxy-connection',
  'upgrade',
  'te',
  'trailer',
  'expect',
]);

/** True for a field that a policy may neither set nor use for a credential. */
export function isFramingHeader(name: string): boolean {
  return FRAMING.has(name.toLowerCase());
}

/** Reads a place as policies write it; undefined when it is none. */
export function parsePlace(text: string): CredentialPlace | undefined {
  if (text === 'ws-protocol' || text === 'sigv4' || text === 'body') return { kind: text };
  const [kind, name = '', scheme, ...rest] = text.split(':');
  if (rest.length > 0) return undefined;
  if (kind === 'header') return headerPlace(name, scheme);
  if (scheme !== undefined) return undefined;
  if (kind === 'query') return PARAMETER_NAME.test(name) ? { kind, name } : undefined;
  if (kind === 'cookie') return COOKIE_NAME.test(name) ? { kind, name } : undefined;
  return undefined;
}

function headerPlace(name: string, scheme: string | undefined): CredentialPlace | undefined {
  if (!HEADER_NAME.test(name) || isFramingHeader(name)) return undefined;
  const place = { kind: 'header', name: name.toLowerCase() } as const;
  if (scheme === undefined) return place;
  const known = SCHEMES.find((one) => one === scheme.toLowerCase());
  return known === undefined ? undefined : { ...place, scheme: known };
}

/** A place as policies write it. */
export function formatPlace(place: CredentialPlace): string {
  if (place.kind === 'header')
    return place.scheme === undefined ? `header:${place.name}` : `header:${place.name}:${place.scheme}`;
  return place.kind === 'query' || place.kind === 'cookie' ? `${place.kind}:${place.name}` : place.kind;
}
