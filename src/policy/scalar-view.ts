import type { Policy } from './contract.ts';
import type { ScalarKey, ScalarValues } from './layer-types.ts';
import { scalarKeys } from './scalars.ts';

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
    'filesystem.mode': filesystem.mode,
    'filesystem.writable': filesystem.workspaceWritable,
    'filesystem.tmp': filesystem.tmpBytes,
    'process.seccomp': processes.seccomp,
    'process.user': processes.user,
    'process.nesting': processes.nesting,
    'network.budget.requests': network.budget.requests,
    'network.budget.upload': network.budget.uploadBytes,
    'network.budget.download': network.budget.downloadBytes,
    'network.budget.connections': network.budget.connections,
    'network.budget.names': network.budget.names,
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
