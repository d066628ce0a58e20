import type { ResourceLimit } from '../agent/contract.ts';
import { GloveboxError } from '../base/errors.ts';
import type { Teardown } from '../base/teardown.ts';
import type { ContainmentUsage, PlanLimits } from '../drivers/contract.ts';
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
}

/**
 * Makes what holds the limits and sweeps groups that dead runs left.
 *
 * @throws E_LIMIT_UNAVAILABLE when one that was asked for cannot hold here
 */
export function enforceLimits(id: string, limits: PlanLimits, teardown: Teardown): EnforcedLimits {
  const facts = detectCgroups();
  const plan = planLimits({ limits, facts, euid: process.geteuid?.() ?? 0, hard: readHardLimits() });
  if (plan.refused.length > 0) throw unavailable(plan.refused, facts.detail, facts.fix);
  sweepCgroups(facts);
  const base = { rlimits: plan.rlimits, notices: plan.notices };
  if (plan.cgroup === undefined) return { ...base, joinPaths: [], usage: () => ({ hit: [] }) };
  const group = createCgroup(id, plan.cgroup);
  teardown.add('cgroup', () => group.remove());
  return { ...base, joinPaths: group.joinPaths, usage: () => group.usage() };
}

function unavailable(names: readonly string[], detail: string, fix: string | undefined): GloveboxError {
  return new GloveboxError('E_LIMIT_UNAVAILABLE', {
    what: `this machine cannot hold limits.${names.join(', limits.')}`,
    why: detail,
    ...(fix === undefined ? {} : { next: fix }),
  });
}
