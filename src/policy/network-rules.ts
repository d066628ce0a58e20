import { EVERY_NAME } from '../net/host-pattern.ts';
import type {
  NetworkBudget,
  NetworkDeny,
  NetworkProtocol,
  NetworkRule,
  Origin,
  SshPolicy,
} from './contract.ts';
import { definedOnly } from './defined.ts';
import { HOST_LOOPBACK, parseHostEntry } from './host-entry.ts';
import type { BudgetKey, Fragment } from './layer-types.ts';
import { originAt, type FragmentSource } from './origin-at.ts';
import { PRESETS } from './presets.ts';
import { requestPolicy } from './request-rules.ts';
import type { AllowObject, NetworkWritten } from './schema-network.ts';
import { parseSize } from './units.ts';

/** The rules of a document. A list that is not written stays away. */
export function networkRules(
  written: NetworkWritten | undefined,
  source: FragmentSource,
): Pick<Fragment, 'allow' | 'netDeny'> {
  const { allow, deny, mode } = written ?? {};
  const open = openRules(mode ?? 'deny', source);
  return {
    ...(allow === undefined && open.length === 0
      ? {}
      : { allow: [...(allow ?? []).map((entry, i) => allowRule(entry, i, source)), ...open] }),
    ...(deny === undefined ? {} : { netDeny: deny.map((entry, i) => denyRule(entry, i, source)) }),
  };
}

/** The rules that `network.mode` stands for: as broad as there is, and still nothing private or special. */
function openRules(
  mode: NonNullable<NetworkWritten['mode']>,
  source: FragmentSource,
): readonly NetworkRule[] {
  if (mode === 'deny') return [];
  const hosts = mode === 'names' ? [EVERY_NAME] : [EVERY_NAME, '0.0.0.0/0', '::/0'];
  const origin = originAt(source, ['network', 'mode']);
  return hosts.flatMap((host) =>
    (['https', 'http'] as const).map((protocol) => ({
      id: `${source.label}/network.mode`,
      host,
      ports: [protocol === 'https' ? 443 : 80],
      protocol,
      private: false,
      allowNoSni: host !== EVERY_NAME,
      origin,
    })),
  );
}

function allowRule(entry: string | AllowObject, index: number, source: FragmentSource): NetworkRule {
  const id = `${source.label}/network.allow[${index}]`;
  const path = ['network', 'allow', index];
  if (typeof entry === 'string') return shorthandRule(entry, id, originAt(source, path));
  const protocol = entry.protocol ?? (entry.port === 80 ? 'http' : 'https');
  const budget = entry.budget === undefined ? undefined : budgetOf(entry.budget);
  const requests = requestPolicy(entry, protocol);
  const ssh = sshOf(entry);
  return {
    id: entry.id ?? id,
    host: hostOf(entry.host, 'allow'),
    ports: uniquePorts(entry.ports ?? [entry.port ?? DEFAULT_PORT[protocol]]),
    protocol,
    private: entry.private !== undefined && entry.private !== false,
    ...(typeof entry.private === 'object' ? { privateRanges: [...new Set(entry.private)] } : {}),
    allowNoSni: entry.allowNoSni ?? false,
    ...(budget === undefined ? {} : { budget }),
    ...(requests === undefined ? {} : { requests }),
    ...(ssh === undefined ? {} : { ssh }),
    origin: originAt(source, path, whyOf(entry)),
  };
}

/** A rule for tcp always names its ports. */
const DEFAULT_PORT: Readonly<Record<NetworkProtocol, number>> = { https: 443, http: 80, tcp: 443, ssh: 22 };

/** `explain` names the preset that a rule was filled from. */
function whyOf({ preset, why }: AllowObject): string | undefined {
  if (preset === undefined) return why;
  const filled = `preset ${preset}: ${PRESETS[preset].description}`;
  return why === undefined ? filled : `${why} (${filled})`;
}

function sshOf({ protocol, hostKeys = [], keys }: AllowObject): SshPolicy | undefined {
  if (protocol !== 'ssh') return undefined;
  return {
    hostKeys: [...new Set(hostKeys.map((key) => key.replace(/=$/, '')))],
    ...(keys === undefined ? {} : { keys: [...new Set(keys)] }),
  };
}

/** `host`, `host:port`: port 443 when left out, plain http on port 80, TLS on every other. */
export function shorthandRule(text: string, id: string, origin: Origin): NetworkRule {
  const entry = parseHostEntry(text, 'allow');
  const host = entry.ok ? entry.host : text;
  const port = (entry.ok ? entry.port : undefined) ?? 443;
  const protocol = host === HOST_LOOPBACK ? 'tcp' : port === 80 ? 'http' : 'https';
  return { id, host, ports: [port], protocol, private: false, allowNoSni: false, origin };
}

function denyRule(
  entry: NonNullable<NetworkWritten['deny']>[number],
  index: number,
  source: FragmentSource,
): NetworkDeny {
  const id = `${source.label}/network.deny[${index}]`;
  const path = ['network', 'deny', index];
  if (typeof entry === 'string') {
    const parsed = parseHostEntry(entry, 'deny');
    const ports = parsed.ok && parsed.port !== undefined ? { ports: [parsed.port] } : {};
    return { id, host: parsed.ok ? parsed.host : entry, ...ports, origin: originAt(source, path) };
  }
  const ports = entry.ports ?? (entry.port === undefined ? undefined : [entry.port]);
  return {
    id: entry.id ?? id,
    host: hostOf(entry.host, 'deny'),
    ...(ports === undefined ? {} : { ports: uniquePorts(ports) }),
    ...(entry.reason === undefined ? {} : { reason: entry.reason }),
    origin: originAt(source, path, entry.why),
  };
}

function hostOf(text: string, use: 'allow' | 'deny'): string {
  const entry = parseHostEntry(text, use);
  return entry.ok ? entry.host : text;
}

function uniquePorts(ports: readonly number[]): readonly number[] {
  return [...new Set(ports)].sort((a, b) => a - b);
}

/** A budget as it is written, to its number. */
export function budgetValue(key: BudgetKey, value: string | number | undefined): number | undefined {
  if (key === 'upload' || key === 'download') return value === undefined ? undefined : parseSize(value);
  if (value === 'unlimited') return Infinity;
  return typeof value === 'number' ? value : undefined;
}

/** Names of the language to names of the contract. */
const BUDGET_MEMBERS = {
  requests: 'requests',
  upload: 'uploadBytes',
  download: 'downloadBytes',
  connections: 'connections',
  names: 'names',
  requestsPerMinute: 'requestsPerMinute',
  concurrency: 'concurrency',
} as const satisfies Readonly<Record<BudgetKey, keyof NetworkBudget>>;

/** A budget from its parts; what is unlimited stays away. */
export function budgetFrom(read: (key: BudgetKey) => number | undefined): NetworkBudget {
  const value = (key: BudgetKey): number | undefined => {
    const number = read(key);
    return number === Infinity ? undefined : number;
  };
  return definedOnly({
    requests: value('requests'),
    uploadBytes: value('upload'),
    downloadBytes: value('download'),
    connections: value('connections'),
    names: value('names'),
    requestsPerMinute: value('requestsPerMinute'),
    concurrency: value('concurrency'),
  });
}

/** One part of a budget by its name in the language. */
export function budgetMember(budget: NetworkBudget | undefined, key: BudgetKey): number | undefined {
  return budget?.[BUDGET_MEMBERS[key]];
}

function budgetOf(written: NonNullable<AllowObject['budget']>): NetworkBudget {
  return budgetFrom((key) => budgetValue(key, written[key]));
}
