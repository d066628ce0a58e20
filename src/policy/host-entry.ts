import { canonicalHost } from '../net/authority.ts';
import { EVERY_NAME, parseHostPattern } from '../net/host-pattern.ts';
import { judgeAddress } from '../net/ip-class.ts';
import { lastOfRange, parseRange, rangeHolds, type IpRange } from '../net/ip-range.ts';
import { parseIp } from '../net/ip.ts';
import { sharedSuffix } from './public-suffix.ts';

/** The rule host that stands for 127.0.0.1 of the host machine. */
export const HOST_LOOPBACK = 'host-loopback';

/** Names that lead to this machine or to a metadata service wherever they are asked (RFC 6761 §6.3; provider documents). */
const SPECIAL_NAMES: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
]);

export type HostEntryResult =
  | { readonly ok: true; readonly host: string; readonly port?: number }
  | { readonly ok: false; readonly why: string; readonly hint?: string };

/** Reads the shorthand `host[:port]`, `[v6]:port` or a bare address. */
export function parseHostEntry(text: string, use: 'allow' | 'deny'): HostEntryResult {
  if (parseIp(text)?.version === 6) return checkHost(text, use);
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/s.exec(text);
  if (bracketed !== null && parseIp(bracketed[1] ?? '')?.version === 6)
    return withPort(bracketed[1] ?? '', bracketed[2], use);
  const plain = /^([^:]*):([^:/]*)$/s.exec(text);
  return plain === null ? checkHost(text, use) : withPort(plain[1] ?? '', plain[2], use);
}

/** Reads a host without a port. `host-loopback` is one; loopback, link-local and metadata addresses are none. */
export function checkHost(text: string, use: 'allow' | 'deny'): HostEntryResult {
  if (text === HOST_LOOPBACK) return { ok: true, host: text };
  if (text === EVERY_NAME)
    return use === 'deny'
      ? hostProblem('it would match every host', 'leave it out: what no rule allows is refused anyway')
      : hostProblem('it would match every host', 'name the hosts, or say network.mode: names');
  const result = parseHostPattern(text, use);
  if (!result.ok) return hostProblem(result.why, result.hint);
  const { host } = result.pattern;
  const problem = use === 'allow' ? (broadProblem(host) ?? specialProblem(host)) : undefined;
  return problem ?? { ok: true, host };
}

/** True for an address, or a range of them, that only a rule with `private: true` may reach. */
export function isPrivateLiteral(host: string): boolean {
  const ip = parseIp(host.replace(/\/.*$/, ''));
  return ip !== undefined && judgeAddress(ip).class === 'private';
}

/** What is wrong with a range of private addresses that a rule opens. */
export function privateRangeProblem(
  text: string,
): { readonly why: string; readonly hint?: string } | undefined {
  const parsed = parseRange(text);
  if (!parsed.ok) return parsed;
  const problem = rangeProblem(parsed.range);
  if (problem?.ok === false) return problem;
  return isPrivateLiteral(text) ? undefined : { why: 'it holds public addresses, which need no word' };
}

/** True when one of the ranges holds the address or range; no ranges hold every one. */
export function rangesCover(ranges: readonly string[] | undefined, host: string): boolean {
  return ranges === undefined || ranges.some((range) => rangeCovers(range, host));
}

/** True for one name or address: what a credential may be sent to. */
export function isExactHost(host: string): boolean {
  return !host.startsWith('*') && !host.includes('/') && host !== HOST_LOOPBACK;
}

/** True when the wide host covers the narrow one; both canonical. `*.x` covers `a.x` and `*.a.x`, never `x` itself. */
export function hostCovers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  if (wide.includes('/')) return rangeCovers(wide, narrow);
  if (!wide.startsWith('*')) return false;
  const name = narrow.startsWith('*.') ? narrow.slice(2) : narrow;
  if (parseIp(name) !== undefined || !canonicalHost(name).ok) return false;
  const suffix = wide.slice(1);
  return wide === EVERY_NAME ? narrow.includes('.') : name.length > suffix.length && name.endsWith(suffix);
}

/** Orders hosts by how exactly they say what they mean: what decides stands first. */
export function hostBreadth(host: string): number {
  if (isExactHost(host) || host === HOST_LOOPBACK) return 0;
  const range = parseRange(host);
  return 1000 - (range.ok ? range.range.bits : host.split('.').length);
}

function rangeCovers(wide: string, narrow: string): boolean {
  const outer = parseRange(wide);
  const inner = parseRange(narrow);
  const ip = inner.ok ? inner.range.first : parseIp(narrow);
  if (!outer.ok || ip === undefined || !rangeHolds(outer.range, ip)) return false;
  return !inner.ok || inner.range.bits >= outer.range.bits;
}

/** The broadest ranges a rule may open: beyond these nobody can say what is inside. */
const BROADEST = { v4: 8, v6: 32, publicV4: 16, publicV6: 48 } as const;

function broadProblem(host: string): HostEntryResult | undefined {
  const range = parseRange(host);
  if (range.ok) return rangeProblem(range.range);
  const shared = host.startsWith('*.') ? sharedSuffix(host.slice(2)) : undefined;
  return shared === undefined ? undefined : hostProblem(shared.why, shared.hint);
}

function rangeProblem(range: IpRange): HostEntryResult | undefined {
  const [first, last] = [judgeAddress(range.first), judgeAddress(lastOfRange(range))];
  const odd = [first, last].find((found) => found.class !== 'public' && found.class !== 'private');
  if (odd !== undefined) return { ok: false, why: `it holds ${odd.what}, which no rule may open` };
  if (first.class !== last.class) return { ok: false, why: 'it holds private and public addresses' };
  const v4 = range.first.version === 4;
  const isPrivate = first.class === 'private';
  const least = isPrivate ? BROADEST[v4 ? 'v4' : 'v6'] : BROADEST[v4 ? 'publicV4' : 'publicV6'];
  return range.bits >= least
    ? undefined
    : { ok: false, why: `it is too broad: a range of ${first.class} addresses begins at /${least}` };
}

/** Advice that is a text to write becomes the nearest thing; other advice belongs to the reason. */
function hostProblem(why: string, hint: string | undefined): HostEntryResult {
  if (hint === undefined) return { ok: false, why };
  return hint.startsWith('write ')
    ? { ok: false, why, hint: hint.slice('write '.length) }
    : { ok: false, why: `${why}; ${hint}` };
}

function withPort(host: string, portText: string | undefined, use: 'allow' | 'deny'): HostEntryResult {
  const result = checkHost(host, use);
  if (!result.ok || portText === undefined) return result;
  const port = /^[1-9][0-9]{0,4}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65_535) return { ok: false, why: 'its port is not 1 to 65535', hint: `${host}:443` };
  return { ...result, port };
}

function specialProblem(host: string): HostEntryResult | undefined {
  const name = host.replace(/^\*\./, '');
  if (name === 'localhost' || name.endsWith('.localhost')) {
    return {
      ok: false,
      why: 'inside, it is the sandbox itself and needs no rule',
      hint: `${HOST_LOOPBACK} with a port, for a service on this machine`,
    };
  }
  if (SPECIAL_NAMES.has(name))
    return { ok: false, why: 'it is a cloud metadata service, which no rule may open' };
  const ip = parseIp(host);
  const judgement = ip === undefined ? undefined : judgeAddress(ip);
  if (judgement === undefined || judgement.class === 'public' || judgement.class === 'private')
    return undefined;
  const hint = judgement.class === 'loopback' ? { hint: `${HOST_LOOPBACK} with a port` } : {};
  return { ok: false, why: `it is ${judgement.what}, which no rule may open`, ...hint };
}
