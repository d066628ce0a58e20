import { canonicalHash } from '../base/canonical-json.ts';
import { printablePath } from '../base/path-bytes.ts';
import type { NetworkPolicy, NetworkRule, PathRule, Policy } from './contract.ts';
import { coverGap, inTrees, mostExact } from './covers.ts';
import { denyText } from './explain.ts';
import { askCovers, askText, proxyText, strictest } from './network-settings.ts';
import { hostCovers } from './host-entry.ts';
import { printable } from './problems.ts';
import { policyScalars } from './scalar-view.ts';
import { formatScalar, widens } from './scalars.ts';
import { credentialText, dlpText, hostText } from './rule-text.ts';
import { credentialMeaning } from './widenings.ts';

export type DifferenceEffect = 'widening' | 'tightening' | 'neutral';

/** One difference between two policies, seen from the first. */
export interface PolicyDifference {
  readonly effect: DifferenceEffect;
  /** Key of the language, such as `network.allow`. */
  readonly path: string;
  /** Absent when it is new. */
  readonly before?: string;
  /** Absent when it is gone. */
  readonly after?: string;
  /** Why it has this effect, where that is not what adding or removing such an item usually has. */
  readonly note?: string;
}

/** What changes from `a` to `b`: widenings first. Where rules stand in files does not count. */
export function diffPolicies(a: Policy, b: Policy): readonly PolicyDifference[] {
  const found = [
    ...scalarDifferences(a, b),
    ...fileDifferences(a, b),
    ...networkDifferences(a, b),
    ...settingDifferences(a.network, b.network),
    ...otherDifferences(a, b),
  ];
  const rank = { widening: 0, tightening: 1, neutral: 2 };
  return found.sort((left, right) => rank[left.effect] - rank[right.effect]);
}

/** What it does to the sandbox, what happened, and to what: `widens   removed  network.deny  telemetry.example.com`. */
export function formatDifference(difference: PolicyDifference): string {
  const effect = { widening: 'widens ', tightening: 'narrows', neutral: 'neither' }[difference.effect];
  const { path, before, after, note } = difference;
  const change = before === undefined ? 'added  ' : after === undefined ? 'removed' : 'changed';
  const items = [before, after].filter((item) => item !== undefined).join(' -> ');
  return `${effect}  ${change}  ${path}  ${items}${note === undefined ? '' : `  (${note})`}`;
}

function scalarDifferences(a: Policy, b: Policy): readonly PolicyDifference[] {
  const before = new Map(policyScalars(a).map((view) => [view.key, view.value]));
  return policyScalars(b).flatMap(({ key, value }): readonly PolicyDifference[] => {
    const old = before.get(key);
    if (old === value) return [];
    const effect: DifferenceEffect = widens(key, old, value)
      ? 'widening'
      : widens(key, value, old)
        ? 'tightening'
        : 'neutral';
    return [
      {
        effect,
        path: key,
        before: printable(formatScalar(key, old)),
        after: printable(formatScalar(key, value)),
      },
    ];
  });
}

interface ListFacts {
  readonly path: string;
  /** What an added item does. */
  readonly added: DifferenceEffect;
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** True for an added item that the first policy allows in another way. */
  readonly redundant?: (item: string) => boolean;
  /** True for a removed item that held something back. */
  readonly held?: (item: string) => boolean;
}

function listDifferences(facts: ListFacts): readonly PolicyDifference[] {
  const removed =
    facts.added === 'widening' ? 'tightening' : facts.added === 'tightening' ? 'widening' : 'neutral';
  const gone = new Set(facts.before.filter((item) => !facts.after.includes(item)));
  const come = new Set(facts.after.filter((item) => !facts.before.includes(item)));
  return [
    ...[...come].map((item): PolicyDifference => {
      const found: PolicyDifference = { effect: facts.added, path: facts.path, after: item };
      if (facts.redundant?.(item) !== true) return found;
      return { ...found, effect: 'neutral', note: 'allowed already' };
    }),
    ...[...gone].map((item): PolicyDifference => {
      const found: PolicyDifference = { effect: removed, path: facts.path, before: item };
      if (facts.held?.(item) !== true) return found;
      return { ...found, effect: 'widening', note: 'another rule decides there now, and lets more pass' };
    }),
  ];
}

function fileDifferences(a: Policy, b: Policy): readonly PolicyDifference[] {
  const [left, right] = [a.filesystem, b.filesystem];
  const texts = (rules: readonly PathRule[]): readonly string[] =>
    rules.map((rule) => printablePath(rule.path));
  const workspace: readonly PolicyDifference[] =
    left.workspace === right.workspace
      ? []
      : [
          {
            effect: 'neutral',
            path: 'filesystem.workspace',
            before: printablePath(left.workspace),
            after: printablePath(right.workspace),
          },
        ];
  const visible = [...left.read, ...left.write, { path: left.workspace }];
  return [
    ...workspace,
    ...listDifferences({
      path: 'filesystem.read',
      added: 'widening',
      before: texts(left.read),
      after: texts(right.read),
      redundant: (item) => inTrees(item, visible),
    }),
    ...listDifferences({
      path: 'filesystem.write',
      added: 'widening',
      before: texts(left.write),
      after: texts(right.write),
      redundant: (item) => inTrees(item, left.write),
    }),
    ...listDifferences({
      path: 'filesystem.deny',
      added: 'tightening',
      before: texts(left.deny),
      after: texts(right.deny),
    }),
    ...listDifferences({
      path: 'filesystem.protect',
      added: 'tightening',
      before: texts(left.protect),
      after: texts(right.protect),
    }),
  ];
}

function networkDifferences(a: Policy, b: Policy): readonly PolicyDifference[] {
  const covered = new Set(
    b.network.allow.filter((rule) => coverGap(a.network.allow, rule) === undefined).map(hostText),
  );
  // Where a rule went, a broader one may decide now, which lets more pass.
  const held = new Set(a.network.allow.filter((rule) => isLoosened(rule, b.network.allow)).map(hostText));
  return [
    ...listDifferences({
      path: 'network.allow',
      added: 'widening',
      before: a.network.allow.map(hostText),
      after: b.network.allow.map(hostText),
      redundant: (item) => covered.has(item),
      held: (item) => held.has(item),
    }),
    ...listDifferences({
      path: 'network.deny',
      added: 'tightening',
      before: a.network.deny.map(denyText),
      after: b.network.deny.map(denyText),
    }),
  ];
}

/** True when what decides in the second policy for the place of a rule of the first lets more pass than that rule did. */
function isLoosened(rule: NetworkRule, after: readonly NetworkRule[]): boolean {
  const covering = after.filter((other) => hostCovers(other.host, rule.host));
  return rule.ports.some((port) =>
    mostExact(covering.filter((other) => other.ports.includes(port))).some(
      (other) => coverGap([rule], { ...other, host: rule.host, ports: [port] }) !== undefined,
    ),
  );
}

function settingDifferences(a: NetworkPolicy, b: NetworkPolicy): readonly PolicyDifference[] {
  const change = (
    path: string,
    effect: DifferenceEffect,
    [before, after]: readonly [string, string],
  ): readonly PolicyDifference[] => (before === after ? [] : [{ effect, path, before, after }]);
  const dlp = (policy: NetworkPolicy): string => (policy.dlp === undefined ? 'off' : dlpText(policy.dlp));
  const proxy = (policy: NetworkPolicy): string =>
    policy.parentProxy === undefined ? 'none' : printable(proxyText(policy.parentProxy));
  return [
    ...change('network.dlp', dlpEffect(a, b), [dlp(a), dlp(b)]),
    ...change('network.ask', askCovers(a.ask, b.ask) ? 'tightening' : 'widening', [
      askText(a.ask),
      askText(b.ask),
    ]),
    ...change('network.parentProxy', b.parentProxy === undefined ? 'neutral' : 'widening', [
      proxy(a),
      proxy(b),
    ]),
    ...listDifferences({
      path: 'network.trust',
      added: 'widening',
      before: (a.trust ?? []).map(printablePath),
      after: (b.trust ?? []).map(printablePath),
    }),
  ];
}

/** Scanning tightens when it is nowhere less than it was. */
function dlpEffect(a: NetworkPolicy, b: NetworkPolicy): DifferenceEffect {
  if (a.dlp === undefined) return 'tightening';
  if (b.dlp === undefined) return 'widening';
  return canonicalHash(strictest(a.dlp, b.dlp)) === canonicalHash(strictest(b.dlp, b.dlp))
    ? 'tightening'
    : 'widening';
}

/** Settings of a section are not repeated: somebody may have pasted a secret there. */
function digest(name: string, settings: unknown): string {
  return `${name} (settings ${canonicalHash(settings).slice(0, 12)})`;
}

function otherDifferences(a: Policy, b: Policy): readonly PolicyDifference[] {
  const sets = (policy: Policy): readonly string[] =>
    Object.entries(policy.process.envSet).map(([name, value]) => `${name}=${printable(value)}`);
  const credentials = (policy: Policy): readonly string[] =>
    policy.credentials.map(
      (entry) => `${credentialText(entry)} (sha256 ${canonicalHash(credentialMeaning(entry)).slice(0, 12)})`,
    );
  const sections = (policy: Policy): readonly string[] =>
    Object.entries(policy.reserved).map(([name, settings]) => digest(name, settings));
  return [
    ...listDifferences({
      path: 'process.env',
      added: 'widening',
      before: a.process.envPass,
      after: b.process.envPass,
    }),
    ...listDifferences({ path: 'process.env.set', added: 'widening', before: sets(a), after: sets(b) }),
    ...listDifferences({
      path: 'limits.require',
      added: 'tightening',
      before: a.limits.require,
      after: b.limits.require,
    }),
    ...listDifferences({
      path: 'credentials',
      added: 'widening',
      before: credentials(a),
      after: credentials(b),
    }),
    ...listDifferences({ path: 'sections', added: 'neutral', before: sections(a), after: sections(b) }),
  ];
}
