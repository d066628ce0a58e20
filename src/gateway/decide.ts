import { GloveboxError } from '../base/errors.ts';
import { canonicalHost } from '../net/authority.ts';
import { compareSpecificity, matchesHost, parseHostPattern } from '../net/host-pattern.ts';
import type { HostPattern } from '../net/host-pattern.ts';
import { judgeForHost } from '../net/ip-class.ts';
import { anyRangeHolds } from '../net/ip-range.ts';
import { parseIp } from '../net/ip.ts';
import type { NetworkDeny, NetworkPolicy, NetworkRule, Origin } from '../policy/contract.ts';
import type { Verdict } from './contract.ts';

/** The rule host that stands for 127.0.0.1 of the host machine. */
export const HOST_LOOPBACK = 'host-loopback';

/** What a service there proves in TLS, and what it may be asked for by: its certificate knows nothing of our word for it. */
export const LOOPBACK_NAME = 'localhost';

/** A destination that a rule allows. */
export interface Allowed {
  readonly action: 'allow';
  readonly verdict: Verdict;
  readonly kind: 'name' | 'ip' | 'host-loopback';
  /** Canonical. */
  readonly host: string;
  readonly port: number;
  readonly rule: NetworkRule;
}

/** A destination that is refused. */
export interface Denied {
  readonly action: 'deny';
  readonly verdict: Verdict;
  /** Canonical, or escaped printable text when it has no canonical form. */
  readonly host: string;
  readonly port: number;
  readonly malformed: boolean;
}

export type Decision = Allowed | Denied;

type Own = () => ReadonlySet<string>;

/** Which private addresses a rule may reach. */
type PrivateGrant = Pick<NetworkRule, 'private' | 'privateRanges'>;

interface Entry<T> {
  readonly pattern: HostPattern;
  readonly rule: T;
}

/** Names that resolve to this machine or to a metadata service wherever they are asked (RFC 6761 §6.3; provider documents). */
const METADATA_NAMES: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
]);

interface Rules {
  readonly exact: ReadonlyMap<string, readonly NetworkRule[]>;
  readonly wildcards: readonly Entry<NetworkRule>[];
  readonly denies: readonly Entry<NetworkDeny>[];
}

/** The policy, ready to judge. Until it is replaced the same destination always gets the same verdict. */
export class Judge {
  readonly #own: Own;
  /** Rules that a person gave while the sandbox ran; they come after the policy's own and fall with a new policy. */
  readonly #granted: NetworkRule[] = [];
  #rules: Rules;
  #generation = 0;

  constructor(policy: NetworkPolicy, own: Own = () => new Set()) {
    this.#own = own;
    this.#rules = compile(policy);
  }

  /** Counts the policies; what was decided under an earlier one may no longer hold. */
  get generation(): number {
    return this.#generation;
  }

  /** Puts another policy in force, whole or not at all. Throws when it names a host wrongly; then the old one stays. */
  replace(policy: NetworkPolicy): void {
    this.#rules = compile(policy);
    this.#granted.length = 0;
    this.#generation++;
  }

  /** Allows what nobody had a rule for; deny rules and structural denials stand before it as before any rule. */
  grant(rule: NetworkRule): void {
    this.#granted.push(rule);
  }

  /** Exact names of the rules, for addresses that are given out before anything else. */
  exactNames(): string[] {
    return [...this.#rules.exact.keys()].filter((host) => parseIp(host) === undefined);
  }

  /** Canonical form, deny list, structural denials, the most specific rule, default deny: in this order. */
  decide(rawHost: string, port: number, extra?: NetworkRule): Decision {
    const canonical = canonicalHost(rawHost);
    if (!canonical.ok) return malformed(rawHost, port, canonical.why);
    const { host, kind } = canonical.value;
    const denied = this.#denyRule(host, port);
    if (denied !== undefined) return deny(host, port, denyVerdict(denied, host));
    const rule = this.#find(host, port) ?? extra;
    const structural = kind === 'ip' ? this.judgeAddress(host, rule) : structuralName(host);
    // A private literal without a rule is an ordinary "nobody allowed it"; the others are refused whatever rules say.
    if (structural !== undefined && (rule !== undefined || structural.rule !== 'structural.private')) {
      return deny(host, port, structural);
    }
    if (rule === undefined) return deny(host, port, this.#defaultDeny(host, port));
    return {
      action: 'allow',
      verdict: allowVerdict(rule, host),
      kind: host === HOST_LOOPBACK ? HOST_LOOPBACK : kind,
      host,
      port,
      rule,
    };
  }

  /** The same for a DNS question: allowed when a rule covers the name on any port that is not denied. */
  decideName(name: string): Decision {
    const rules = this.#covering(name);
    for (const rule of rules) {
      for (const port of rule.ports) {
        const decision = this.decide(name, port);
        if (decision.action === 'allow') return decision;
      }
    }
    return this.decide(name, rules[0]?.ports[0] ?? 443);
  }

  /** Why an address may not be dialled: its class, or a deny rule that names it; undefined when it may. */
  judgeAddress(text: string, rule: PrivateGrant | undefined): Verdict | undefined {
    const ip = parseIp(text);
    if (ip === undefined) return structuralVerdict('malformed', `"${printable(text)}" is not an address`);
    const judgement = judgeForHost(ip, this.#own());
    if (judgement.class === 'public') return undefined;
    const verdict = structuralVerdict(judgement.class, `${ip.text} is ${judgement.what}`);
    if (judgement.class !== 'private') return verdict;
    if (rule?.private !== true)
      return { ...verdict, remedy: 'add `private: true` to the rule in the policy' };
    if (rule.privateRanges === undefined || anyRangeHolds(rule.privateRanges, ip)) return undefined;
    return { ...verdict, remedy: 'add its range to `private` of the rule in the policy' };
  }

  /** A deny rule that names this address or host, for addresses that came out of a resolver. */
  deniedAddress(text: string, port: number): Verdict | undefined {
    const rule = this.#denyRule(text, port);
    return rule === undefined ? undefined : denyVerdict(rule, text);
  }

  #find(host: string, port: number): NetworkRule | undefined {
    const { exact, wildcards } = this.#rules;
    return (
      exact.get(host)?.find((rule) => rule.ports.includes(port)) ??
      wildcards.find((entry) => matchesHost(entry.pattern, host) && entry.rule.ports.includes(port))?.rule ??
      this.#granted.find((rule) => rule.host === host && rule.ports.includes(port))
    );
  }

  #covering(host: string): NetworkRule[] {
    const wild = this.#rules.wildcards
      .filter((entry) => matchesHost(entry.pattern, host))
      .map((entry) => entry.rule);
    const granted = this.#granted.filter((rule) => rule.host === host);
    return [...(this.#rules.exact.get(host) ?? []), ...wild, ...granted];
  }

  #denyRule(host: string, port: number): NetworkDeny | undefined {
    const covers = (rule: NetworkDeny): boolean => rule.ports === undefined || rule.ports.includes(port);
    return this.#rules.denies.find((entry) => matchesHost(entry.pattern, host) && covers(entry.rule))?.rule;
  }

  #defaultDeny(host: string, port: number): Verdict {
    const others = [...new Set(this.#covering(host).flatMap((rule) => rule.ports))];
    const reason =
      others.length === 0
        ? `no rule allows ${host}`
        : `${host} is allowed on port ${others.join(', ')} only, not on ${port}`;
    return { action: 'deny', rule: 'default.deny', reason, remedy: remedyFor(host, port) };
  }
}

function compile(policy: NetworkPolicy): Rules {
  const exact = new Map<string, NetworkRule[]>();
  const wildcards: Entry<NetworkRule>[] = [];
  for (const rule of policy.allow) {
    const pattern = patternOf(rule, 'allow');
    if (pattern.kind === 'wildcard') wildcards.push({ pattern, rule });
    else exact.set(pattern.host, [...(exact.get(pattern.host) ?? []), rule]);
  }
  // Stable sort: rules of one specificity keep the order of the policy.
  wildcards.sort((a, b) => compareSpecificity(a.pattern, b.pattern));
  const denies = policy.deny.map((rule) => ({ pattern: patternOf(rule, 'deny'), rule }));
  return { exact, wildcards, denies };
}

function patternOf(rule: NetworkRule | NetworkDeny, use: 'allow' | 'deny'): HostPattern {
  const result = parseHostPattern(rule.host, use);
  if (result.ok) return result.pattern;
  // The policy room refuses this earlier; a deny rule that were skipped here would be a hole.
  throw new GloveboxError('E_POLICY_INVALID', {
    what: `${rule.id} names the host "${printable(rule.host)}"`,
    why: result.why,
  });
}

/** `file:line`, the profile, or the layer that a rule came from. */
export function sourceOf(origin: Origin): string {
  if (origin.position !== undefined) return `${origin.position.file}:${origin.position.line}`;
  return origin.profile ?? origin.layer;
}

/** The rule that a person's answer stands for: this host and port alone, with what its port usually speaks. */
export function ruleFromAnswer(host: string, port: number, answer: 'once' | 'sandbox'): NetworkRule {
  const why = answer === 'once' ? 'allowed once, by an answer' : 'allowed for this sandbox, by an answer';
  return {
    id: `ask.${answer}`,
    host,
    ports: [port],
    protocol: guessProtocol(port),
    private: false,
    allowNoSni: false,
    origin: { layer: 'command-line', why },
  };
}

/** The flag and the policy line that would allow a destination. */
export function remedyFor(host: string, port: number): string {
  const flag = port === 443 ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const line =
    port === 443 ? `- ${host}` : `- { host: "${host}", ports: [${port}], protocol: ${guessProtocol(port)} }`;
  return `run with \`--allow ${flag}\`, or add \`${line}\` under network.allow in the policy`;
}

/** Text from the sandbox for a record: printable ASCII, short; the rest as \\u escapes. */
export function printable(text: string): string {
  const cut = text.length > 128 ? `${text.slice(0, 128)}…(${text.length})` : text;
  return cut.replace(
    /[^\x20-\x7e…]|["\\]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function guessProtocol(port: number): 'https' | 'http' | 'tcp' {
  if (port === 443 || port === 8443) return 'https';
  return port === 80 || port === 8080 ? 'http' : 'tcp';
}

function structuralName(host: string): Verdict | undefined {
  if (host === 'localhost' || host.endsWith('.localhost')) {
    return {
      ...structuralVerdict(
        'loopback',
        `${host} is the sandbox itself, there is nothing to reach through the gateway`,
      ),
      remedy: `for a service on this machine allow the host \`${HOST_LOOPBACK}\` with its port and connect to that name`,
    };
  }
  if (METADATA_NAMES.has(host)) return structuralVerdict('metadata', `${host} is a cloud metadata service`);
  return undefined;
}

function structuralVerdict(kind: string, reason: string): Verdict {
  return { action: 'deny', rule: `structural.${kind}`, reason };
}

function allowVerdict(rule: NetworkRule, host: string): Verdict {
  return {
    action: 'allow',
    rule: rule.id,
    reason: `${rule.id} allows ${host}`,
    source: sourceOf(rule.origin),
  };
}

function denyVerdict(rule: NetworkDeny, host: string): Verdict {
  const reason = rule.reason ?? `${rule.id} denies ${host}`;
  const source = sourceOf(rule.origin);
  return {
    action: 'deny',
    rule: rule.id,
    reason,
    source,
    remedy: `deny rules win over every allow: change ${rule.id} in ${source}`,
  };
}

function malformed(rawHost: string, port: number, why: string): Denied {
  const host = printable(rawHost);
  return {
    action: 'deny',
    verdict: structuralVerdict('malformed', `the host "${host}" is refused: ${why}`),
    host,
    port,
    malformed: true,
  };
}

function deny(host: string, port: number, verdict: Verdict): Denied {
  return { action: 'deny', verdict, host, port, malformed: false };
}
