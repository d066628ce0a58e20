import type { SourcePosition } from '../base/errors.ts';
import type {
  CredentialPolicy,
  LayerName,
  NetworkBudget,
  NetworkDeny,
  NetworkRule,
  Origin,
} from './contract.ts';
import { parseHostEntry } from './host-entry.ts';
import type { EnvRule, Fragment, ScalarKey, Scalars, ScalarValues } from './layer-types.ts';
import type { ParsedFile, PathStep } from './parse.ts';
import { pathRules, type PathRuleSets } from './path-rules.ts';
import type { PathBase } from './path-text.ts';
import type { PolicyProblem } from './problems.ts';
import { BUDGET_KEYS, LIMIT_KEYS, type ScalarDraft } from './scalars.ts';
import type { AllowObject, PolicyDocument } from './schema.ts';
import { parseDuration, parseSize } from './units.ts';

/** What is needed to turn a checked document into a fragment. */
export interface FragmentSource {
  readonly parsed: ParsedFile;
  readonly layer: LayerName | 'built-in';
  readonly profile?: string;
  /** Begins the ids of rules: `user`, `profile:node`. */
  readonly label: string;
  readonly from: PathBase;
  readonly problems: PolicyProblem[];
}

/** Normalises a checked document: units, hosts, paths, origins. Problems that only the machine knows go to `source.problems`. */
export function buildFragment(doc: PolicyDocument, source: FragmentSource): Fragment {
  const paths = pathRules(doc, source);
  return {
    layer: source.layer,
    ...(source.profile === undefined ? {} : { profile: source.profile }),
    scalars: readScalars(doc, source),
    ...workspaceOf(doc, source),
    ...paths,
    ...networkOf(doc, source),
    ...(doc.process?.env === undefined ? {} : { env: envRules(doc.process.env, source) }),
    ...(doc.limits?.require === undefined
      ? {}
      : {
          require: doc.limits.require.map((value, i) => ({
            value,
            origin: originAt(source, ['limits', 'require', i]),
          })),
        }),
    ...(doc.credentials === undefined ? {} : { credentials: credentialsOf(doc.credentials, source) }),
    ...reservedOf(doc, source),
    listOrigins: {
      read: originAt(source, ['filesystem', 'read']),
      write: originAt(source, ['filesystem', 'write']),
      allow: originAt(source, ['network', 'allow']),
      env: originAt(source, ['process', 'env']),
    },
  } satisfies Fragment & PathRuleSets;
}

/** The origin of what stands at a path. */
export function originAt(source: FragmentSource, path: readonly PathStep[], why?: string): Origin {
  const position: SourcePosition = source.parsed.at(path);
  return {
    layer: source.layer,
    position,
    ...(source.profile === undefined ? {} : { profile: source.profile }),
    ...(why === undefined ? {} : { why }),
  };
}

function readScalars(doc: PolicyDocument, source: FragmentSource): Scalars {
  const found: ScalarDraft = {};
  const put = <K extends ScalarKey>(
    key: K,
    value: ScalarValues[K] | undefined,
    path: readonly PathStep[],
  ): void => {
    if (value !== undefined) Object.assign(found, { [key]: { value, origin: originAt(source, path) } });
  };
  const { filesystem, limits, network, process: processes } = doc;
  put('tier', doc.tier, ['tier']);
  put('filesystem.mode', filesystem?.mode, ['filesystem', 'mode']);
  put('filesystem.tmp', sizeOf(filesystem?.tmp), ['filesystem', 'tmp']);
  if (typeof filesystem?.workspace === 'object')
    put('filesystem.writable', filesystem.workspace.writable, ['filesystem', 'workspace', 'writable']);
  put('process.seccomp', processes?.seccomp, ['process', 'seccomp']);
  put('process.user', processes?.user, ['process', 'user']);
  put('process.nesting', processes?.nesting, ['process', 'nesting']);
  for (const key of LIMIT_KEYS) put(`limits.${key}`, limitValue(key, limits?.[key]), ['limits', key]);
  for (const key of BUDGET_KEYS)
    put(`network.budget.${key}`, budgetValue(key, network?.budget?.[key]), ['network', 'budget', key]);
  return found;
}

/** A limit as it is written, to its number. */
export function limitValue(
  key: (typeof LIMIT_KEYS)[number],
  value: string | number | undefined,
): number | undefined {
  if (value === undefined) return undefined;
  if (value === 'unlimited') return Infinity;
  if (key === 'timeout' || key === 'ttl') return typeof value === 'string' ? parseDuration(value) : undefined;
  if (key === 'memory' || key === 'fileSize' || key === 'output') return sizeOf(value);
  return typeof value === 'number' ? value : undefined;
}

function budgetValue(
  key: (typeof BUDGET_KEYS)[number],
  value: string | number | undefined,
): number | undefined {
  if (key === 'upload' || key === 'download') return sizeOf(value);
  if (value === 'unlimited') return Infinity;
  return typeof value === 'number' ? value : undefined;
}

function sizeOf(value: string | number | undefined): number | undefined {
  return value === undefined ? undefined : parseSize(value);
}

function workspaceOf(doc: PolicyDocument, source: FragmentSource): Pick<Fragment, 'workspace'> {
  const written = doc.filesystem?.workspace;
  const value = typeof written === 'object' ? written.path : written;
  return value === undefined
    ? {}
    : { workspace: { value, origin: originAt(source, ['filesystem', 'workspace']) } };
}

function networkOf(doc: PolicyDocument, source: FragmentSource): Pick<Fragment, 'allow' | 'netDeny'> {
  const { allow, deny } = doc.network ?? {};
  return {
    ...(allow === undefined ? {} : { allow: allow.map((entry, i) => allowRule(entry, i, source)) }),
    ...(deny === undefined ? {} : { netDeny: deny.map((entry, i) => denyRule(entry, i, source)) }),
  };
}

function allowRule(entry: string | AllowObject, index: number, source: FragmentSource): NetworkRule {
  const id = `${source.label}/network.allow[${index}]`;
  const path = ['network', 'allow', index];
  if (typeof entry === 'string') return shorthandRule(entry, id, originAt(source, path));
  const protocol = entry.protocol ?? (entry.port === 80 ? 'http' : 'https');
  const budget = entry.budget === undefined ? undefined : budgetOf(entry.budget);
  const inspect = inspectOf(entry);
  return {
    id: entry.id ?? id,
    host: hostOf(entry.host, 'allow'),
    ports: uniquePorts(entry.ports ?? [entry.port ?? (protocol === 'http' ? 80 : 443)]),
    protocol,
    private: entry.private ?? false,
    allowNoSni: entry.allowNoSni ?? false,
    ...(budget === undefined ? {} : { budget }),
    ...(inspect === undefined ? {} : { inspect }),
    origin: originAt(source, path, entry.why),
  };
}

/** `host`, `host:port`: port 443 when left out, plain http on port 80, TLS on every other. */
export function shorthandRule(text: string, id: string, origin: Origin): NetworkRule {
  const entry = parseHostEntry(text, 'allow');
  const host = entry.ok ? entry.host : text;
  const port = (entry.ok ? entry.port : undefined) ?? 443;
  const protocol = host === 'host-loopback' ? 'tcp' : port === 80 ? 'http' : 'https';
  return { id, host, ports: [port], protocol, private: false, allowNoSni: false, origin };
}

function denyRule(
  entry: NonNullable<NonNullable<PolicyDocument['network']>['deny']>[number],
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

function budgetOf(written: NonNullable<AllowObject['budget']>): NetworkBudget {
  const value = (key: (typeof BUDGET_KEYS)[number]): number | undefined => {
    const number = budgetValue(key, written[key]);
    return number === Infinity ? undefined : number;
  };
  return definedOnly({
    requests: value('requests'),
    uploadBytes: value('upload'),
    downloadBytes: value('download'),
    connections: value('connections'),
    names: value('names'),
  });
}

/** Settings of the inspecting gateway, as written. `tls: passthrough` is what happens anyway. */
function inspectOf(entry: AllowObject): Readonly<Record<string, unknown>> | undefined {
  const inspect = definedOnly({
    tls: entry.tls === 'inspect' ? entry.tls : undefined,
    methods: entry.methods,
    paths: entry.paths,
    credential: entry.credential,
  });
  return Object.keys(inspect).length === 0 ? undefined : inspect;
}

function envRules(
  entries: NonNullable<NonNullable<PolicyDocument['process']>['env']>,
  source: FragmentSource,
): readonly EnvRule[] {
  return entries.flatMap((entry, i): readonly EnvRule[] => {
    const path = ['process', 'env', i];
    if (typeof entry === 'string') return [{ name: entry, origin: originAt(source, path) }];
    if ('name' in entry) return [{ name: entry.name, origin: originAt(source, path, entry.why) }];
    return Object.entries(entry.set).map(([name, value]) => ({
      name,
      value,
      origin: originAt(source, [...path, 'set', name], entry.why),
    }));
  });
}

function credentialsOf(
  written: Readonly<Record<string, Record<string, unknown>>>,
  source: FragmentSource,
): readonly CredentialPolicy[] {
  return Object.entries(written).map(([name, settings]) => ({
    name,
    settings,
    origin: originAt(source, ['credentials', name]),
  }));
}

function reservedOf(doc: PolicyDocument, source: FragmentSource): Pick<Fragment, 'reserved'> {
  const found = (['approvals', 'monitor'] as const).flatMap((name) =>
    doc[name] === undefined
      ? []
      : [{ value: { name, settings: doc[name] }, origin: originAt(source, [name]) }],
  );
  return found.length === 0 ? {} : { reserved: found };
}

/** An object without its undefined members. */
export function definedOnly<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const copy: { [K in keyof T]?: Exclude<T[K], undefined> } = {};
  return Object.assign(
    copy,
    Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)),
  );
}
