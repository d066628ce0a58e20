import { canonicalHost } from '../net/authority.ts';
import { parseHostPattern } from '../net/host-pattern.ts';
import { judgeAddress } from '../net/ip-class.ts';
import { parseIp } from '../net/ip.ts';

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
  const result = parseHostPattern(text, use);
  if (!result.ok) return hostProblem(result.why, result.hint);
  const problem = use === 'allow' ? specialProblem(result.pattern.host) : undefined;
  return problem ?? { ok: true, host: result.pattern.host };
}

/** True for an address that only a rule with `private: true` may reach. */
export function isPrivateLiteral(host: string): boolean {
  const ip = parseIp(host);
  return ip !== undefined && judgeAddress(ip).class === 'private';
}

/** True when the wide host covers the narrow one; both canonical. `*.x` covers `a.x` and `*.a.x`, never `x` itself. */
export function hostCovers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  if (!wide.startsWith('*.')) return false;
  const suffix = wide.slice(1);
  const name = narrow.startsWith('*.') ? narrow.slice(2) : narrow;
  return (
    parseIp(name) === undefined &&
    canonicalHost(name).ok &&
    name.length > suffix.length &&
    name.endsWith(suffix)
  );
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
