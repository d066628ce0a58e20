import { domainToASCII } from 'node:url';
import { parseRange, rangeHolds } from './ip-range.ts';
import { parseIp } from './ip.ts';
import { canonicalName } from './name.ts';

/** A host as policies write it, in canonical form: `api.example.com`, `*.example.com`, `192.0.2.1`, `2001:db8::1`, `10.1.2.0/24`. */
export interface HostPattern {
  /** `wildcard` covers more than one host: `*.example.com`, an address range, or `*` (every name of two labels and more). */
  readonly kind: 'exact' | 'wildcard' | 'ipv4' | 'ipv6';
  /** The whole canonical text, with the `*.` of a wildcard and the prefix length of a range. */
  readonly host: string;
}

/** A parsed pattern, or why it is none and what was probably meant. */
export type HostPatternResult =
  | { readonly ok: true; readonly pattern: HostPattern }
  | { readonly ok: false; readonly why: string; readonly hint?: string };

/** The pattern that `network.mode` stands for: every name of two labels and more. Nobody can write it as a host. */
export const EVERY_NAME = '*';

/**
 * Reads one host of a policy. `*.x.y` is strict: it matches every name below `x.y` and not `x.y` itself.
 * Refused with a reason: `**`, a wildcard over a top-level domain, a URL, a port, brackets, Unicode, odd numerals. How broad a
 * wildcard may be is for the policy language to say. For `deny` one may be as broad as it likes: too much refused is no hole.
 */
export function parseHostPattern(text: string, use: 'allow' | 'deny' = 'allow'): HostPatternResult {
  if (text === EVERY_NAME && use === 'allow') return { ok: true, pattern: { kind: 'wildcard', host: text } };
  if (/^[0-9a-f.:%]+\/[0-9a-z.]*$/i.test(text)) return rangePattern(text);
  const shape = shapeProblem(text);
  if (shape !== undefined) return shape;
  const ip = parseIp(text);
  if (ip !== undefined)
    return { ok: true, pattern: { kind: ip.version === 4 ? 'ipv4' : 'ipv6', host: ip.text } };
  if (/[:[\]]/.test(text)) return colonProblem(text);
  if (text.includes('*')) return parseWildcard(text, use);
  const name = canonicalName(text);
  if (!name.ok) return refuse(`it has ${name.why}`);
  return { ok: true, pattern: { kind: 'exact', host: name.name } };
}

/** True when the pattern covers a canonical host (a canonical name, or an address in the text form of `parseIp`). */
export function matchesHost(pattern: HostPattern, canonicalHost: string): boolean {
  if (pattern.kind !== 'wildcard') return pattern.host === canonicalHost;
  if (pattern.host.includes('/')) return isInRange(pattern.host, canonicalHost);
  if (pattern.host === EVERY_NAME) return canonicalHost.includes('.') && parseIp(canonicalHost) === undefined;
  const suffix = pattern.host.slice(1);
  return (
    canonicalHost.length > suffix.length && canonicalHost.endsWith(suffix) && !canonicalHost.includes(':')
  );
}

/** Order by specificity for `sort`: exact hosts and addresses first, then wildcards with more labels or longer prefixes; 0 when equal. */
export function compareSpecificity(a: HostPattern, b: HostPattern): number {
  return rank(b) - rank(a);
}

function rank(pattern: HostPattern): number {
  if (pattern.kind !== 'wildcard') return Number.MAX_SAFE_INTEGER;
  const range = parseRange(pattern.host);
  return range.ok ? range.range.bits : pattern.host.split('.').length;
}

function shapeProblem(text: string): HostPatternResult | undefined {
  if (text === '') return refuse('it is empty');
  if (/[^\u0021-\u007e]/.test(text)) return unicodeProblem(text);
  if (text === '*' || text === '**') {
    return refuse('it would match every host', 'name the hosts; nothing else can be allowed by one rule');
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return refuse('it is a URL', urlHint(text));
  if (text.includes('@'))
    return refuse('it holds user information', hostHint(text.slice(text.lastIndexOf('@') + 1)));
  if (/[/?#]/.test(text)) return refuse('it holds a path', hostHint(text.replace(/[/?#].*$/, '')));
  return undefined;
}

function unicodeProblem(text: string): HostPatternResult {
  if (/[\u0000-\u0020\u007f]/.test(text))
    return refuse('it holds a space or control character', hostHint(text.trim()));
  const ascii = domainToASCII(text.replace(/^\*\./, ''));
  const prefix = text.startsWith('*.') ? '*.' : '';
  return refuse('it holds characters outside ASCII', ascii === '' ? undefined : `write ${prefix}${ascii}`);
}

function colonProblem(text: string): HostPatternResult {
  const bracketed = /^\[([^\]]*)\](?::([0-9]+))?$/.exec(text);
  if (bracketed !== null) return refuse('it has brackets', hostHint(bracketed[1] ?? ''));
  const withPort = /^([^:]+):([0-9]+)$/.exec(text);
  if (withPort !== null)
    return refuse('it holds a port', `write the host alone and ports: [${Number(withPort[2])}]`);
  return refuse(text.includes('%') ? 'it has a zone id' : 'it is neither a name nor an address');
}

function parseWildcard(text: string, use: 'allow' | 'deny'): HostPatternResult {
  const rest = text.slice(2);
  if (!text.startsWith('*.') || rest.includes('*')) {
    return refuse('"*" may only be the whole first label', 'write *.example.com');
  }
  const name = canonicalName(rest);
  if (!name.ok) return refuse(`it has ${name.why}`);
  if (use === 'deny') return { ok: true, pattern: { kind: 'wildcard', host: `*.${name.name}` } };
  if (!name.name.includes('.'))
    return refuse(`it would match all of .${name.name}`, 'name at least two labels after "*."');
  return { ok: true, pattern: { kind: 'wildcard', host: `*.${name.name}` } };
}

function rangePattern(text: string): HostPatternResult {
  const result = parseRange(text);
  if (!result.ok) return result;
  const { first, bits, text: host } = result.range;
  const whole = first.version === 4 ? 32 : 128;
  if (bits === whole)
    return { ok: true, pattern: { kind: first.version === 4 ? 'ipv4' : 'ipv6', host: first.text } };
  return { ok: true, pattern: { kind: 'wildcard', host } };
}

function isInRange(range: string, host: string): boolean {
  const parsed = parseRange(range);
  const ip = parseIp(host);
  return parsed.ok && ip !== undefined && rangeHolds(parsed.range, ip);
}

function urlHint(text: string): string | undefined {
  return hostHint(
    text
      .replace(/^[a-z][a-z0-9+.-]*:\/\//i, '')
      .replace(/[/?#].*$/, '')
      .replace(/^.*@/, '')
      .replace(/:[0-9]*$/, ''),
  );
}

function hostHint(text: string): string | undefined {
  const candidate = parseIp(text)?.text ?? canonicalName(text);
  if (typeof candidate === 'string') return `write ${candidate}`;
  return candidate.ok ? `write ${candidate.name}` : undefined;
}

function refuse(why: string, hint?: string): HostPatternResult {
  return hint === undefined ? { ok: false, why } : { ok: false, why, hint };
}
