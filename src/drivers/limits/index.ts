export { createCgroup, type Cgroup } from './cgroup.ts';
export { detectCgroups, type CgroupFacts, type Controller } from './facts.ts';
export { canReadJails, JailMemory, type JailMemoryInput } from './jail-memory.ts';
export {
  planLimits,
  strengths,
  type CgroupPlan,
  type CgroupWrite,
  type LimitsInput,
  type LimitsPlan,
} from './plan.ts';
export { readHardLimits, RLIMIT, UNLIMITED, type ResourceLimit } from './rlimits.ts';
export { sweepCgroups } from './sweep.ts';
