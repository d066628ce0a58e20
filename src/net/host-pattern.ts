import { domainToASCII } from 'node:url';
import { parseIp } from './ip.ts';
import { canonicalName } from './name.ts';

/** A host as policies write it, in canonical form: `api.example.com`, `*.example.com`, `192.0.2.1`, `2001:db8::1`. */
export interface HostPattern {
  readonly kind: 'exact' | 'wildcard' | 'ipv4' | 'ipv6';
  /** The whole canonical text, with the `*.` of a wildcard. */
  readonly host: string;
}

/** A parsed pattern, or why it is none and what was probably meant. */
export type HostPatternResult =
  | { readonly ok: true; readonly pattern: HostPattern }
  | { readonly ok: false; readonly why: string; readonly hint?: string };

/**
 * Second-level labels under which country registries register names (`co.uk`, `com.au`): a wildcard there is everybody's domain.
 * Not the whole Public Suffix List: the ones that all two-letter registries share.
 */
const REGISTRY_LABELS: ReadonlySet<string> = new Set([
  'ac',
  'co',
  'com',
  'edu',
  'gob',
  'go',
  'gov',
  'gouv',
  'govt',
  'ltd',
  'mil',
  'ne',
  'net',
  'nom',
  'or',
  'org',
  'plc',
  'sch',
]);

/** Suffixes under which anybody can publish: `*.` before them would allow everybody's pages. */
const SHARED_SUFFIXES: ReadonlySet<string> = new Set([
  'appspot.com',
  'azurewebsites.net',
  'blogspot.com',
  'cloudfront.net',
  'fly.dev',
  'firebaseapp.com',
  'github.io',
  'gitlab.io',
  'herokuapp.com',
  'netlify.app',
  'ngrok-free.app',
  'ngrok.io',
  'onrender.com',
  'pages.dev',
  'r2.dev',
  'replit.app',
  'run.app',
  'trycloudflare.com',
  'vercel.app',
  'web.app',
  'workers.dev',
]);

/**
 * Reads one host of a policy. `*.x.y` is strict: it matches every name below `x.y` and not `x.y` itself.
 * Refused with a reason: `*`, `**`, a wildcard over a top-level or registry domain, a URL, a port, brackets, Unicode, odd numerals.
 * For `deny` a wildcard may be as broad as it likes: too much refused is no hole.
 */
export function parseHostPattern(text: string, use: 'allow' | 'deny' = 'allow'): HostPatternResult {
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
  const suffix = pattern.host.slice(1);
  return (
    canonicalHost.length > suffix.length && canonicalHost.endsWith(suffix) && !canonicalHost.includes(':')
  );
}

/** Order by specificity for `sort`: exact hosts and addresses first, then wildcards with more labels; 0 when equal. */
export function compareSpecificity(a: HostPattern, b: HostPattern): number {
  return rank(b) - rank(a);
}

function rank(pattern: HostPattern): number {
  return pattern.kind === 'wildcard' ? pattern.host.split('.').length : Number.MAX_SAFE_INTEGER;
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
  if (/\/[0-9]{1,3}$/.test(text))
    return refuse('it is an address range', 'write each address as a rule of its own');
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
  return breadthProblem(name.name) ?? { ok: true, pattern: { kind: 'wildcard', host: `*.${name.name}` } };
}

function breadthProblem(name: string): HostPatternResult | undefined {
  const labels = name.split('.');
  const [second = '', top = ''] = labels;
  if (labels.length === 1)
    return refuse(`it would match all of .${name}`, 'name at least two labels after "*."');
  if (labels.length === 2 && top.length === 2 && REGISTRY_LABELS.has(second)) {
    return refuse(`${name} is a public suffix: everybody registers names there`, `write *.yourname.${name}`);
  }
  if (SHARED_SUFFIXES.has(name)) {
    return refuse(`anybody can publish under ${name}`, `write the exact host, such as yourname.${name}`);
  }
  return undefined;
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
