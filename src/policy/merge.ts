import { isWithin, printablePath } from '../base/path-bytes.ts';
import type {
  CredentialPolicy,
  LayerInfo,
  LimitName,
  LimitPolicy,
  NetworkPolicy,
  Origin,
  PathRule,
  Policy,
  ProcessPolicy,
} from './contract.ts';
import { hostCovers } from './host-entry.ts';
import { withCredentialHeaders, withRuleHosts } from './credential-rules.ts';
import { decidingRules } from './deciding.ts';
import { baseOf } from './base-text.ts';
import { definedOnly } from './defined.ts';
import type {
  EnvRule,
  Fragment,
  LimitKey,
  Located,
  NumberKey,
  Scalars,
  ScalarValues,
} from './layer-types.ts';
import { builtInDenials, builtInProtections, liftedNames } from './built-in.ts';
import { originPlace } from './ceiling.ts';
import { budgetFrom } from './network-rules.ts';
import { mergeSettings } from './network-settings.ts';
import { LIMIT_KEYS, mergeScalars, SCALAR_DEFAULTS, scalarKeys, scalarOf } from './scalars.ts';

/** What goes into one policy. */
export interface MergeInput {
  /** In order of growing weight: organisation as fallback, base, user, project, command line. */
  readonly fragments: readonly Fragment[];
  readonly workspace: string;
  readonly home: string;
  /** Glovebox's own directories: never visible inside. */
  readonly own: readonly string[];
  readonly layers: readonly LayerInfo[];
}

export interface MergeResult {
  readonly policy: Policy;
  readonly notices: readonly string[];
}

/** Lists add up, single values of later fragments win, the organisation's fixed values win over all. Pure. */
export function mergePolicy(input: MergeInput): MergeResult {
  const { fragments } = input;
  const scalars = mergeScalars(...fragments.map((fragment) => fragment.scalars));
  const notices: string[] = [];
  const env = mergeEnv(fragments);
  const network = mergeNetwork(fragments, scalars, notices);
  const credentials = mergeCredentials(fragments).map((entry) => withRuleHosts(entry, network.allow));
  const policy: Policy = {
    version: 1,
    tier: settled(scalars)['tier'],
    ...definedOnly({ driver: scalars.driver?.value }),
    filesystem: mergeFilesystem(input, scalars, notices),
    network: { ...network, allow: network.allow.map((rule) => withCredentialHeaders(rule, credentials)) },
    credentials,
    process: processOf(scalars, env),
    limits: limitsOf(fragments, scalars),
    reserved: mergeReserved(fragments),
    sources: sourcesOf(scalars, env),
    layers: input.layers,
  };
  return { policy, notices };
}

/** The settings that always have a value. */
function settled(scalars: Scalars): Pick<ScalarValues, Exclude<keyof typeof SCALAR_DEFAULTS, 'driver'>> {
  return {
    tier: scalars.tier?.value ?? SCALAR_DEFAULTS.tier,
    'filesystem.mode': scalars['filesystem.mode']?.value ?? SCALAR_DEFAULTS['filesystem.mode'],
    'filesystem.writable': scalars['filesystem.writable']?.value ?? SCALAR_DEFAULTS['filesystem.writable'],
    'filesystem.base': scalars['filesystem.base']?.value ?? SCALAR_DEFAULTS['filesystem.base'],
    'filesystem.tmp': scalars['filesystem.tmp']?.value ?? SCALAR_DEFAULTS['filesystem.tmp'],
    'network.overBudget': scalars['network.overBudget']?.value ?? SCALAR_DEFAULTS['network.overBudget'],
    'process.seccomp': scalars['process.seccomp']?.value ?? SCALAR_DEFAULTS['process.seccomp'],
    'process.user': scalars['process.user']?.value ?? SCALAR_DEFAULTS['process.user'],
    'process.nesting': scalars['process.nesting']?.value ?? SCALAR_DEFAULTS['process.nesting'],
  };
}

function mergeFilesystem(input: MergeInput, scalars: Scalars, notices: string[]): Policy['filesystem'] {
  const { fragments, workspace } = input;
  const write = distinctPaths(outside(workspace, 'write', { fragments, notices }));
  const inWrite = (rule: PathRule): boolean => write.some((wide) => isWithin(rule.path, wide.path));
  const read = distinctPaths(outside(workspace, 'read', { fragments, notices })).filter(
    (rule) => !inWrite(rule),
  );
  const unprotect = distinctPaths(fragments.flatMap((fragment) => fragment.unprotect ?? []));
  const roots = [workspace, ...write.map((rule) => rule.path)];
  const deny = [...builtInDenials(input.own), ...fragments.flatMap((fragment) => fragment.deny ?? [])];
  for (const rule of [...read, ...write]) noteShadowed(rule, deny, notices);
  return {
    workspace,
    mode: settled(scalars)['filesystem.mode'],
    workspaceWritable: settled(scalars)['filesystem.writable'],
    read,
    write,
    deny: distinctPaths(deny),
    protect: distinctPaths([
      ...fragments.flatMap((fragment) => fragment.protect ?? []),
      ...builtInProtections({ roots, home: input.home, lifted: liftedNames(unprotect, workspace) }),
    ]),
    unprotect,
    tmpBytes: settled(scalars)['filesystem.tmp'],
    ...definedOnly({ base: baseOf(settled(scalars)['filesystem.base']) }),
  };
}

/**
 * A rule for a path in the workspace adds nothing, and could be led elsewhere by a link that an earlier run left there: it does
 * not count.
 */
function outside(
  workspace: string,
  use: 'read' | 'write',
  from: { readonly fragments: readonly Fragment[]; readonly notices: string[] },
): readonly PathRule[] {
  const rules = from.fragments
    .filter((fragment) => fragment.layer !== 'organisation')
    .flatMap((fragment) => fragment[use] ?? []);
  return rules.filter((rule) => {
    if (!isWithin(rule.path, workspace)) return true;
    const place = originPlace(rule.origin, use);
    from.notices.push(`${place}: ${printablePath(rule.path)} lies in the workspace, which is visible anyway`);
    return false;
  });
}

function distinctPaths(rules: readonly PathRule[]): readonly PathRule[] {
  const seen = new Map<string, PathRule>();
  for (const rule of rules) {
    const key = `${rule.glob ? 'glob' : 'path'} ${rule.path}`;
    const earlier = seen.get(key);
    // Whoever insists on the path wants to hear when it is missing.
    if (earlier === undefined || (earlier.optional && !rule.optional)) seen.set(key, rule);
  }
  return [...seen.values()];
}

function noteShadowed(rule: PathRule, deny: readonly PathRule[], notices: string[]): void {
  if (rule.origin.layer !== 'command-line') return;
  const by = deny.find((candidate) => !candidate.glob && isWithin(rule.path, candidate.path));
  if (by !== undefined)
    notices.push(
      `${printablePath(rule.path)} stays hidden: ${by.id} denies it (${originPlace(by.origin, 'deny')})`,
    );
}

function mergeNetwork(fragments: readonly Fragment[], scalars: Scalars, notices: string[]): NetworkPolicy {
  const deny = fragments.flatMap((fragment) => fragment.netDeny ?? []);
  // The organisation's allow list is a ceiling: it grants nothing by itself.
  const allow = decidingRules(
    fragments.filter((fragment) => fragment.layer !== 'organisation').map((fragment) => fragment.allow ?? []),
  );
  for (const rule of allow.filter((candidate) => candidate.origin.layer === 'command-line')) {
    const by = deny.find(
      (candidate) =>
        hostCovers(candidate.host, rule.host) &&
        rule.ports.every((port) => candidate.ports?.includes(port) ?? true),
    );
    if (by !== undefined)
      notices.push(`${rule.host} stays refused: ${by.id} denies it (${originPlace(by.origin, 'deny')})`);
  }
  const overBudget = scalars['network.overBudget']?.value;
  return {
    allow: uniqueIds(allow),
    deny: uniqueIds(deny),
    budget: budgetFrom((key) => scalarOf(scalars, `network.budget.${key}`)?.value),
    ...(overBudget === undefined ? {} : { overBudget }),
    ...mergeSettings(fragments, allow),
  };
}

/** Records name a rule by its id, so two rules never share one. */
function uniqueIds<T extends { readonly id: string }>(rules: readonly T[]): readonly T[] {
  const used = new Set<string>();
  return rules.map((rule) => {
    let id = rule.id;
    for (let n = 2; used.has(id); n++) id = `${rule.id}#${n}`;
    used.add(id);
    return id === rule.id ? rule : { ...rule, id };
  });
}

function finite(scalars: Scalars, key: NumberKey): number | undefined {
  const found = scalarOf(scalars, key)?.value;
  return found === Infinity ? undefined : found;
}

function limitsOf(fragments: readonly Fragment[], scalars: Scalars): LimitPolicy {
  const require = new Set(
    fragments.flatMap((fragment) => (fragment.require ?? []).map((entry) => entry.value)),
  );
  const isExplicit = (key: LimitKey): boolean => {
    const found = scalarOf(scalars, `limits.${key}`);
    return (
      found !== undefined &&
      found.value !== Infinity &&
      found.origin.layer !== 'built-in' &&
      found.origin.profile === undefined
    );
  };
  return {
    ...definedOnly({
      cpu: finite(scalars, 'limits.cpu'),
      memoryBytes: finite(scalars, 'limits.memory'),
      pids: finite(scalars, 'limits.pids'),
      files: finite(scalars, 'limits.files'),
      fileSizeBytes: finite(scalars, 'limits.fileSize'),
      outputBytes: finite(scalars, 'limits.output'),
      timeoutMs: finite(scalars, 'limits.timeout'),
      ttlMs: finite(scalars, 'limits.ttl'),
    }),
    require: LIMIT_KEYS.filter((key): key is LimitName => require.has(key)),
    explicit: LIMIT_KEYS.filter(isExplicit),
  };
}

function mergeEnv(fragments: readonly Fragment[]): ReadonlyMap<string, EnvRule> {
  const merged = new Map<string, EnvRule>();
  for (const fragment of fragments.filter((candidate) => candidate.layer !== 'organisation')) {
    for (const rule of fragment.env ?? []) merged.set(rule.name, rule);
  }
  // Names of the organisation are a ceiling, its fixed values hold.
  for (const fragment of fragments.filter((candidate) => candidate.layer === 'organisation')) {
    for (const rule of fragment.env ?? []) if (rule.value !== undefined) merged.set(rule.name, rule);
  }
  return merged;
}

function processOf(scalars: Scalars, env: ReadonlyMap<string, EnvRule>): ProcessPolicy {
  const rules = [...env.values()];
  return {
    envPass: rules.filter((rule) => rule.value === undefined).map((rule) => rule.name),
    envSet: Object.fromEntries(
      rules.flatMap((rule) => (rule.value === undefined ? [] : [[rule.name, rule.value]])),
    ),
    seccomp: settled(scalars)['process.seccomp'],
    user: settled(scalars)['process.user'],
    nesting: settled(scalars)['process.nesting'],
  };
}

/** Later definitions win, the organisation's over all. */
function strongest<T>(
  fragments: readonly Fragment[],
  pick: (fragment: Fragment) => readonly T[] | undefined,
): readonly T[] {
  const own = fragments.filter((fragment) => fragment.layer === 'organisation');
  const below = fragments.filter((fragment) => fragment.layer !== 'organisation');
  return [...below, ...own].flatMap((fragment) => pick(fragment) ?? []);
}

function mergeCredentials(fragments: readonly Fragment[]): readonly CredentialPolicy[] {
  const merged = new Map(
    strongest(fragments, (fragment) => fragment.credentials).map((entry) => [entry.name, entry]),
  );
  return [...merged.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function mergeReserved(fragments: readonly Fragment[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    strongest(fragments, (fragment) => fragment.reserved).map(({ value: entry }) => [
      entry.name,
      entry.settings,
    ]),
  );
}

function sourcesOf(scalars: Scalars, env: ReadonlyMap<string, EnvRule>): Readonly<Record<string, Origin>> {
  const sources: Record<string, Origin> = {};
  for (const key of scalarKeys()) {
    const found: Located<unknown> | undefined = scalarOf(scalars, key);
    if (found !== undefined) sources[key] = found.origin;
  }
  for (const rule of env.values()) sources[`process.env.${rule.name}`] = rule.origin;
  return sources;
}
