import type { ResourceLimit } from '../agent/contract.ts';
import { GloveboxError } from '../base/errors.ts';
import type { Teardown } from '../base/teardown.ts';
import type { ContainmentUsage, Plan } from '../drivers/contract.ts';
import type { CurrentUsage } from '../drivers/limits/usage.ts';
import {
  createCgroup,
  detectCgroups,
  planLimits,
  readHardLimits,
  sweepCgroups,
} from '../drivers/limits/index.ts';

/** Limits in force for one sandbox. */
export interface EnforcedLimits {
  /** Files that the airlock joins before anything else. */
  readonly joinPaths: readonly string[];
  /** For every command. */
  readonly rlimits: readonly ResourceLimit[];
  /** What holds only in part. */
  readonly notices: readonly string[];
  /** What the kernel counted so far. */
  usage(): ContainmentUsage;
  /** What is used at this moment, as far as the machine counts it. */
  current(): CurrentUsage;
  /** Directories of the control group. */
  readonly groups: readonly string[];
  /** Stops everything inside, or lets it go on; false where no control group can do that. */
  freeze(frozen: boolean): boolean;
}

/** Where this user can make no control group. */
const NO_GROUP: Pick<EnforcedLimits, 'joinPaths' | 'groups' | 'usage' | 'current' | 'freeze'> = {
  joinPaths: [],
  groups: [],
  usage: () => ({ hit: [] }),
  current: () => ({}),
  freeze: () => false,
};

/**
 * Makes what holds the limits and sweeps groups that dead runs left.
 *
 * @throws E_LIMIT_UNAVAILABLE when one that was asked for cannot hold here
 */
export function enforceLimits(
  id: string,
  { tier, limits }: Pick<Plan, 'tier' | 'limits'>,
  teardown: Teardown,
): EnforcedLimits {
  const facts = detectCgroups();
  const guestKernel = tier !== 'process';
  const plan = planLimits({
    limits,
    facts,
    guestKernel,
    euid: process.geteuid?.() ?? 0,
    hard: readHardLimits(),
  });
  if (plan.refused.length > 0) throw unavailable(plan.refused, facts.detail, facts.fix);
  sweepCgroups(facts);
  const base = { rlimits: plan.rlimits, notices: plan.notices };
  if (plan.cgroup === undefined) return { ...base, ...NO_GROUP };
  const group = createCgroup(id, plan.cgroup);
  teardown.add('cgroup', () => group.remove());
  return {
    ...base,
    joinPaths: group.joinPaths,
    groups: group.dirs,
    usage: () => group.usage(),
    current: () => group.current(),
    freeze: (frozen) => group.freeze(frozen),
  };
}

/** What holds where an engine makes the control group: all of it, or the engine refuses. The agent holds the rest. */
export function engineLimits({ limits }: Pick<Plan, 'limits'>, engine: string): EnforcedLimits {
  const parents = { memory: engine, pids: engine, cpu: engine, cpuacct: engine };
  const plan = planLimits({
    limits,
    facts: { version: 0, parents, detail: `held by ${engine}` },
    guestKernel: true,
    euid: process.geteuid?.() ?? 0,
    hard: readHardLimits(),
  });
  return { rlimits: plan.rlimits, notices: plan.notices, ...NO_GROUP };
}

function unavailable(names: readonly string[], detail: string, fix: string | undefined): GloveboxError {
  return new GloveboxError('E_LIMIT_UNAVAILABLE', {
    what: `this machine cannot hold limits.${names.join(', limits.')}`,
    why: detail,
    ...(fix === undefined ? {} : { next: fix }),
  });
}
