import type { ResourceLimit } from '../agent/contract.ts';
import { GloveboxError } from '../base/errors.ts';
import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';
import type { Teardown } from '../base/teardown.ts';
import type { Jail } from '../drivers/bubblewrap/driver.ts';
import type { ContainmentUsage, Plan } from '../drivers/contract.ts';
import type { CurrentUsage } from '../drivers/limits/usage.ts';
import {
  canReadJails,
  createCgroup,
  detectCgroups,
  planLimits,
  readHardLimits,
  sweepCgroups,
  type CgroupPlan,
} from '../drivers/limits/index.ts';
import { MemoryWatch, type MemoryWatchInput } from './memory-watch.ts';

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
  /** Begins to watch what no control group holds. Preconditions: called once, with a jail that has just booted. */
  watch(jail: WatchedJail): void;
}

/** How a jail is ended that holds too much. */
export interface WatchedJail extends Pick<Jail, 'pid' | 'session'> {
  readonly kill: () => Promise<void>;
}

/**
 * What runs a machine uses besides the machine's memory: QEMU itself, the code that it has translated, the file servers with an open file for
 * each that the guest knows. A guest that used all of its 192 MiB took 290 MiB with them.
 */
const MACHINE_OVERHEAD_BYTES = 512 * 1024 ** 2;

/** Where this user can make no control group. */
const NO_GROUP: Omit<EnforcedLimits, 'rlimits' | 'notices'> = {
  joinPaths: [],
  groups: [],
  usage: () => ({ hit: [] }),
  current: () => ({}),
  freeze: () => false,
  watch: () => undefined,
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
    linuxGuest: tier === 'vm',
    ...(tier === 'vm' || tier === 'vm+gvisor' ? { machineOverheadBytes: MACHINE_OVERHEAD_BYTES } : {}),
    watchable: canReadJails(),
    euid: process.geteuid?.() ?? 0,
    hard: readHardLimits(),
  });
  if (plan.refused.length > 0) throw unavailable(plan.refused, facts.detail, facts.fix);
  sweepCgroups(facts);
  // A machine takes a moment to die after its launcher, so the next start may still find its group busy.
  if (tier === 'vm' || tier === 'vm+gvisor')
    teardown.add('groups of dead runs', () => void sweepCgroups(facts));
  const base = { rlimits: plan.rlimits, notices: plan.notices };
  const held = {
    ...base,
    ...(plan.cgroup === undefined ? NO_GROUP : heldByGroup(id, plan.cgroup, teardown)),
  };
  return plan.watchBytes === undefined
    ? held
    : watched(held, { limitBytes: plan.watchBytes, guestKernel, teardown });
}

function heldByGroup(id: string, plan: CgroupPlan, teardown: Teardown): typeof NO_GROUP {
  const group = createCgroup(id, plan);
  teardown.add('cgroup', () => group.remove());
  return {
    joinPaths: group.joinPaths,
    groups: group.dirs,
    usage: () => group.usage(),
    current: () => group.current(),
    freeze: (frozen) => group.freeze(frozen),
    watch: () => undefined,
  };
}

type WatchOptions = Pick<MemoryWatchInput, 'limitBytes' | 'guestKernel'> & { readonly teardown: Teardown };

/** What a control group leaves open, with memory held by looking at it. */
function watched(held: EnforcedLimits, { limitBytes, guestKernel, teardown }: WatchOptions): EnforcedLimits {
  const made: { watch?: MemoryWatch } = {};
  teardown.add('memory watch', () => made.watch?.[Symbol.dispose]());
  return {
    ...held,
    usage: () => {
      const seen = held.usage();
      if (made.watch === undefined) return seen;
      const { over, peakBytes } = made.watch;
      return {
        ...seen,
        ...(peakBytes > 0 ? { peakMemoryBytes: peakBytes } : {}),
        hit: over ? [...seen.hit, 'memory'] : seen.hit,
      };
    },
    current: () => {
      const memoryBytes = made.watch?.currentBytes();
      return { ...held.current(), ...(memoryBytes === undefined ? {} : { memoryBytes }) };
    },
    watch: ({ pid, session, kill }) => {
      if (pid === undefined) return;
      // As a control group does: it ends the programs, and a guest kernel is one.
      const onOver = guestKernel
        ? (): void => void kill()
        : (): void => session.signalAll(SIGNAL_NUMBERS['SIGKILL'] ?? 9);
      made.watch = new MemoryWatch({ pid, guestKernel, limitBytes, onOver });
    },
  };
}

/** What holds where an engine makes the control group: all of it, or the engine refuses. The agent holds the rest. */
export function engineLimits({ limits }: Pick<Plan, 'limits'>, engine: string): EnforcedLimits {
  const parents = { memory: engine, pids: engine, cpu: engine, cpuacct: engine };
  const plan = planLimits({
    limits,
    facts: { version: 0, parents, detail: `held by ${engine}` },
    guestKernel: true,
    watchable: false,
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
