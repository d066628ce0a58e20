import { baseText } from './base-text.ts';
import type { Policy } from './contract.ts';
import type { ScalarKey, ScalarValues } from './layer-types.ts';
import { budgetMember } from './network-rules.ts';
import { scalarDefault, scalarKeys } from './scalars.ts';

/** One single-valued setting of a policy; undefined says unlimited. */
export interface ScalarView {
  readonly key: ScalarKey;
  readonly value: ScalarValues[ScalarKey] | undefined;
}

/** The single-valued settings of a resolved policy, in the order of the language. */
export function policyScalars(policy: Policy): readonly ScalarView[] {
  const { filesystem, limits, network, process: processes } = policy;
  const values: { readonly [K in ScalarKey]: ScalarValues[K] | undefined } = {
    tier: policy.tier,
    driver: policy.driver ?? scalarDefault('driver'),
    'filesystem.mode': filesystem.mode,
    'filesystem.base': baseText(filesystem.base),
    'filesystem.writable': filesystem.workspaceWritable,
    'filesystem.tmp': filesystem.tmpBytes,
    'process.seccomp': processes.seccomp,
    'process.user': processes.user,
    'process.nesting': processes.nesting,
    'network.overBudget': network.overBudget ?? scalarDefault('network.overBudget'),
    'network.budget.requests': budgetMember(network.budget, 'requests'),
    'network.budget.upload': budgetMember(network.budget, 'upload'),
    'network.budget.download': budgetMember(network.budget, 'download'),
    'network.budget.connections': budgetMember(network.budget, 'connections'),
    'network.budget.names': budgetMember(network.budget, 'names'),
    'network.budget.requestsPerMinute': budgetMember(network.budget, 'requestsPerMinute'),
    'network.budget.concurrency': budgetMember(network.budget, 'concurrency'),
    'limits.cpu': limits.cpu,
    'limits.memory': limits.memoryBytes,
    'limits.pids': limits.pids,
    'limits.files': limits.files,
    'limits.fileSize': limits.fileSizeBytes,
    'limits.output': limits.outputBytes,
    'limits.timeout': limits.timeoutMs,
    'limits.ttl': limits.ttlMs,
  };
  return scalarKeys().map((key) => ({ key, value: values[key] }));
}
