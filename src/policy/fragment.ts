import { resolveBase } from './base-text.ts';
import { credentialRules } from './credential-rules.ts';
import type { EnvRule, Fragment, ScalarKey, Scalars, ScalarValues } from './layer-types.ts';
import { budgetValue, networkRules } from './network-rules.ts';
import { networkSettings } from './network-settings.ts';
import { originAt, type FragmentSource } from './origin-at.ts';
import type { PathStep } from './parse.ts';
import { pathRules, type PathRuleSets } from './path-rules.ts';
import { BUDGET_KEYS, LIMIT_KEYS, type ScalarDraft } from './scalars.ts';
import type { PolicyDocument } from './schema.ts';
import { parseDuration, parseSize } from './units.ts';

/** Normalises a checked document: units, hosts, paths, origins. Problems that only the machine knows go to `source.problems`. */
export function buildFragment(doc: PolicyDocument, source: FragmentSource): Fragment {
  const paths = pathRules(doc, source);
  return {
    layer: source.layer,
    ...(source.profile === undefined ? {} : { profile: source.profile }),
    scalars: readScalars(doc, source),
    ...workspaceOf(doc, source),
    ...paths,
    ...networkRules(doc.network, source),
    ...networkSettings(doc.network, source),
    ...(doc.process?.env === undefined ? {} : { env: envRules(doc.process.env, source) }),
    ...(doc.limits?.require === undefined
      ? {}
      : {
          require: doc.limits.require.map((value, i) => ({
            value,
            origin: originAt(source, ['limits', 'require', i]),
          })),
        }),
    ...(doc.credentials === undefined ? {} : { credentials: credentialRules(doc.credentials, source) }),
    ...reservedOf(doc, source),
    listOrigins: {
      read: originAt(source, ['filesystem', 'read']),
      write: originAt(source, ['filesystem', 'write']),
      allow: originAt(source, ['network', 'allow']),
      trust: originAt(source, ['network', 'trust']),
      env: originAt(source, ['process', 'env']),
    },
  } satisfies Fragment & PathRuleSets;
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
  put('driver', doc.driver, ['driver']);
  put('filesystem.mode', filesystem?.mode, ['filesystem', 'mode']);
  put('filesystem.base', baseFrom(filesystem?.base, source), ['filesystem', 'base']);
  put('filesystem.tmp', sizeOf(filesystem?.tmp), ['filesystem', 'tmp']);
  if (typeof filesystem?.workspace === 'object')
    put('filesystem.writable', filesystem.workspace.writable, ['filesystem', 'workspace', 'writable']);
  put('process.seccomp', processes?.seccomp, ['process', 'seccomp']);
  put('process.user', processes?.user, ['process', 'user']);
  put('process.nesting', processes?.nesting, ['process', 'nesting']);
  put('network.overBudget', network?.overBudget, ['network', 'overBudget']);
  for (const key of LIMIT_KEYS) put(`limits.${key}`, limitValue(key, limits?.[key]), ['limits', key]);
  for (const key of BUDGET_KEYS)
    put(`network.budget.${key}`, budgetValue(key, network?.budget?.[key]), ['network', 'budget', key]);
  return found;
}

function baseFrom(text: string | undefined, source: FragmentSource): string | undefined {
  return text === undefined ? undefined : resolveBase(text, source.from);
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

function reservedOf(doc: PolicyDocument, source: FragmentSource): Pick<Fragment, 'reserved'> {
  const found = (['approvals', 'monitor'] as const).flatMap((name) =>
    doc[name] === undefined
      ? []
      : [{ value: { name, settings: doc[name] }, origin: originAt(source, [name]) }],
  );
  return found.length === 0 ? {} : { reserved: found };
}
