import { canonicalJson } from '../base/canonical-json.ts';
import { GloveboxError } from '../base/errors.ts';
import { printablePath } from '../base/path-bytes.ts';
import type { NetworkRule, Origin, PathRule } from './contract.ts';
import { coverGap, inTrees } from './covers.ts';
import type { EnvRule, Fragment, ScalarKey, ScalarValues } from './layer-types.ts';
import { decidingRules } from './deciding.ts';
import { askCovers, askText } from './network-settings.ts';
import { filterScalars, formatScalar, isNumberKey, mergeScalars, scalarOf, widens } from './scalars.ts';

/** One thing that asks for more than the organisation allows. */
export interface CeilingViolation {
  /** Where it was asked: `file:line:column`, or an option. */
  readonly asked: string;
  readonly limit: string;
  readonly what: string;
}

/**
 * The organisation's fragments, with the driver that its tier means. Who asks for a container means the kernel of its own that it has by
 * default; with an engine's usual runtime there is none, so an engine needs the organisation's own word. So does any other driver of the vm tier.
 */
export function withDriverOfTier(organisation: readonly Fragment[]): readonly Fragment[] {
  const { tier, driver } = mergeScalars(...organisation.map((layer) => layer.scalars));
  if (tier === undefined || driver !== undefined || widens('tier', 'container', tier.value))
    return organisation;
  const value = tier.value === 'container' ? 'gvisor' : 'qemu';
  const implied = { driver: { value, origin: tier.origin } } as const;
  return organisation.map((layer) => ({ ...layer, scalars: { ...layer.scalars, ...implied } }));
}

interface CheckState {
  readonly violations: CeilingViolation[];
  readonly notices: string[];
}

/** Fragments that stay within the ceiling, and what a person should know. */
export interface CeilingResult {
  readonly fragments: readonly Fragment[];
  readonly notices: readonly string[];
}

/**
 * Holds everything below the organisation against its policy. What a layer or a named profile asks for and may not have is an
 * error that names both places. What only the built-in default brings, nobody asked for: it is left out with a notice.
 *
 * @throws E_POLICY_CEILING with all violations
 */
export function applyCeiling(organisation: readonly Fragment[], below: readonly Fragment[]): CeilingResult {
  if (organisation.length === 0) return { fragments: below, notices: [] };
  const state: CheckState = { violations: [], notices: [] };
  const fragments = below.map((fragment) => checkFragment(organisation, fragment, state));
  if (state.violations.length > 0) throw ceilingError(state.violations);
  return { fragments, notices: state.notices };
}

/** Names `file:line:column`, `profile (file:line)` or the option of an origin. */
export function originPlace(origin: Origin, option: string): string {
  const { position } = origin;
  if (position === undefined) return origin.layer === 'command-line' ? `--${option}` : origin.layer;
  return `${printablePath(position.file)}:${position.line}:${position.column}`;
}

function checkFragment(organisation: readonly Fragment[], fragment: Fragment, state: CheckState): Fragment {
  const check = new FragmentCheck(organisation, fragment, state);
  check.definitions();
  check.settings();
  return {
    ...fragment,
    scalars: check.scalars(),
    ...(fragment.read === undefined ? {} : { read: check.paths('read', fragment.read) }),
    ...(fragment.write === undefined ? {} : { write: check.paths('write', fragment.write) }),
    ...(fragment.allow === undefined ? {} : { allow: check.hosts(fragment.allow) }),
    ...(fragment.env === undefined ? {} : { env: check.env(fragment.env) }),
    ...(fragment.unprotect === undefined ? {} : { unprotect: check.lifts(fragment.unprotect) }),
  };
}

class FragmentCheck {
  readonly #organisation: readonly Fragment[];
  readonly #fragment: Fragment;
  readonly #state: CheckState;

  constructor(organisation: readonly Fragment[], fragment: Fragment, state: CheckState) {
    this.#organisation = organisation;
    this.#fragment = fragment;
    this.#state = state;
  }

  scalars(): Fragment['scalars'] {
    const ceiling = mergeScalars(...this.#organisation.map((layer) => layer.scalars));
    return filterScalars(this.#fragment.scalars, (key, asked) => {
      const most = scalarOf(ceiling, key);
      if (most === undefined || !widens(key, most.value, asked.value)) return true;
      // Nobody asked for what the built-in default brings, nor for a certain tier with `auto`.
      if (asked.origin.profile === 'profile:default' || isAuto(key, asked.value)) return false;
      return this.#refuse(asked.origin, most.origin, {
        option: optionOf(key),
        what: scalarText(key, asked.value, most.value),
      });
    });
  }

  hosts(rules: readonly NetworkRule[]): readonly NetworkRule[] {
    const wide = union(this.#organisation, 'allow', (layer) => layer.allow);
    if (wide === undefined) return rules;
    const most = decidingRules(this.#organisation.map((layer) => layer.allow ?? []));
    return rules.filter((rule) => {
      // The list bounds what is reached; whose secret goes with it is for the person to say.
      const gap = coverGap(most, rule, 'free');
      if (gap === undefined) return true;
      const what = `network access to ${rule.host}:${rule.ports.join(',')}: ${gap.why}`;
      return this.#refuse(rule.origin, gap.closest?.origin ?? wide.origin, {
        option: `allow ${rule.host}`,
        what,
      });
    });
  }

  paths(use: 'read' | 'write', rules: readonly PathRule[]): readonly PathRule[] {
    const wide = union(this.#organisation, use, (layer) => layer[use]);
    if (wide === undefined) return rules;
    // What may be written may be read.
    const writable =
      use === 'read' ? (union(this.#organisation, 'write', (layer) => layer.write)?.items ?? []) : [];
    return rules.filter((rule) => {
      if (inTrees(rule.path, [...wide.items, ...writable])) return true;
      const what = `${use === 'read' ? 'reading' : 'writing'} ${printablePath(rule.path)}: no ${use} entry there covers it`;
      return this.#refuse(rule.origin, wide.origin, { option: `${use} ${printablePath(rule.path)}`, what });
    });
  }

  env(rules: readonly EnvRule[]): readonly EnvRule[] {
    const all = this.#organisation.flatMap((layer) => layer.env ?? []);
    const fixed = all.filter((rule) => rule.value !== undefined);
    const names = all.filter((rule) => rule.value === undefined);
    const closed = this.#organisation.some((layer) => layer.env?.length === 0) || names.length > 0;
    return rules.filter((rule) => {
      const set = fixed.find((candidate) => candidate.name === rule.name && candidate.value !== rule.value);
      if (set !== undefined)
        return this.#refuse(rule.origin, set.origin, {
          option: `env ${rule.name}`,
          what: `variable ${rule.name}: it has a fixed value there`,
        });
      if (!closed || rule.value !== undefined || names.some((candidate) => candidate.name === rule.name))
        return true;
      return this.#refuse(rule.origin, listOrigin(this.#organisation, 'env'), {
        option: `env ${rule.name}`,
        what: `variable ${rule.name}: it is not in process.env there`,
      });
    });
  }

  /** A name that the organisation defined has its meaning from there. */
  definitions(): void {
    for (const own of this.#organisation.flatMap((layer) => layer.credentials ?? [])) {
      const again = this.#fragment.credentials?.find((candidate) => candidate.name === own.name);
      if (again !== undefined)
        this.#refuse(again.origin, own.origin, {
          option: 'credential',
          what: `another meaning of credential ${own.name}`,
        });
    }
    for (const own of this.#organisation.flatMap((layer) => layer.reserved ?? [])) {
      const again = this.#fragment.reserved?.find((candidate) => candidate.value.name === own.value.name);
      if (again !== undefined)
        this.#refuse(again.origin, own.origin, {
          option: own.value.name,
          what: `${own.value.name} of its own`,
        });
    }
  }

  /** A way out, an authority or a question that the organisation speaks of is as it says. */
  settings(): void {
    const { ask, parentProxy, trust } = this.#fragment;
    const proxy = this.#organisation.findLast((layer) => layer.parentProxy !== undefined)?.parentProxy;
    if (parentProxy !== undefined && proxy !== undefined && !isSame(parentProxy.value, proxy.value))
      this.#refuse(parentProxy.origin, proxy.origin, {
        option: 'network.parentProxy',
        what: 'another proxy',
      });
    const most = this.#organisation.findLast((layer) => layer.ask !== undefined)?.ask;
    if (ask !== undefined && most !== undefined && !askCovers(most.value, ask.value))
      this.#refuse(ask.origin, most.origin, {
        option: 'network.ask',
        what: `${askText(ask.value)}: there ${askText(most.value)}`,
      });
    const trusted = new Set(
      this.#organisation.flatMap((layer) => layer.trust ?? []).map((entry) => entry.value),
    );
    const bounded = this.#organisation.some((layer) => layer.trust !== undefined);
    for (const entry of bounded ? (trust ?? []) : []) {
      if (trusted.has(entry.value)) continue;
      this.#refuse(entry.origin, listOrigin(this.#organisation, 'trust'), {
        option: 'network.trust',
        what: `trusting ${printablePath(entry.value)}: it is not in network.trust there`,
      });
    }
  }

  /** What the organisation protects by name, nobody below lifts. */
  lifts(rules: readonly PathRule[]): readonly PathRule[] {
    const held = this.#organisation.flatMap((layer) => layer.protect ?? []);
    return rules.filter((rule) => {
      const by = held.find((candidate) => candidate.path === rule.path);
      if (by === undefined) return true;
      return this.#refuse(rule.origin, by.origin, {
        option: 'protect',
        what: `lifting the protection of ${printablePath(rule.path)}`,
      });
    });
  }

  #refuse(asked: Origin, limit: Origin, facts: { readonly option: string; readonly what: string }): false {
    const at = originPlace(limit, '');
    if (asked.profile === 'profile:default') this.#state.notices.push(`left out ${facts.what} (${at})`);
    else
      this.#state.violations.push({ asked: originPlace(asked, facts.option), limit: at, what: facts.what });
    return false;
  }
}

/** All entries of a list over the organisation's fragments, or undefined when none writes it: then there is no ceiling. */
function union<T>(
  layers: readonly Fragment[],
  key: 'allow' | 'read' | 'write',
  pick: (layer: Fragment) => readonly T[] | undefined,
): { readonly items: readonly T[]; readonly origin: Origin } | undefined {
  const lists = layers.map(pick).filter((list) => list !== undefined);
  return lists.length === 0 ? undefined : { items: lists.flat(), origin: listOrigin(layers, key) };
}

type ListKey = 'allow' | 'read' | 'write' | 'env' | 'trust';

function listOrigin(layers: readonly Fragment[], key: ListKey): Origin {
  return (
    layers.findLast((layer) => layer[key] !== undefined)?.listOrigins?.[key] ?? { layer: 'organisation' }
  );
}

const isSame = (a: object, b: object): boolean => canonicalJson(a) === canonicalJson(b);

/** `auto` asks for nothing in particular, so the organisation's minimum decides. */
function isAuto(key: ScalarKey, value: unknown): boolean {
  return key === 'tier' && value === 'auto';
}

function scalarText<K extends ScalarKey>(key: K, asked: ScalarValues[K], most: ScalarValues[K]): string {
  const bound = isNumberKey(key) ? 'the most there is' : 'there it is';
  return `${key.replace('filesystem.writable', 'filesystem.workspace.writable')} ${formatScalar(key, asked)}: ${bound} ${formatScalar(key, most)}`;
}

function optionOf(key: ScalarKey): string {
  return key.replace(/^limits\./, '').replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export function ceilingError(violations: readonly CeilingViolation[]): GloveboxError {
  const lines = violations.map(
    (found) => `${found.asked} asks for more than ${found.limit} allows: ${found.what}`,
  );
  const what =
    lines.length === 1
      ? (lines[0] ?? '')
      : `${lines.length} settings ask for more than the organisation allows:\n  ${lines.join('\n  ')}`;
  return new GloveboxError('E_POLICY_CEILING', { what, context: { violations } });
}
