import type { ResourceLimit } from '../agent/contract.ts';
import type { Teardown } from '../base/teardown.ts';
import type { ContainmentUsage, PlanLimits } from '../drivers/contract.ts';

export interface EnforcedLimits {
  readonly procsPaths: readonly string[];
  readonly rlimits: readonly ResourceLimit[];
  readonly notices: readonly string[];
  usage(): ContainmentUsage;
}
export function enforceLimits(_id: string, limits: PlanLimits, _teardown: Teardown): EnforcedLimits {
  const rlimits: ResourceLimit[] = [{ resource: 4, soft: 0n, hard: 0n }];
  if (limits.files !== undefined) rlimits.push({ resource: 7, soft: BigInt(limits.files), hard: BigInt(limits.files) });
  return { procsPaths: [], rlimits, notices: [], usage: () => ({ hit: [] }) };
}
