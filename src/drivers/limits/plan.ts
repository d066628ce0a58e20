import type { LimitName } from '../../policy/contract.ts';
import type { PlanLimits, Strength } from '../contract.ts';
import type { CgroupFacts, Controller } from './facts.ts';
import { RLIMIT, UNLIMITED, type ResourceLimit } from './rlimits.ts';

/** One write into a group's directory, in order. */
export interface CgroupWrite {
  readonly controller: Controller;
  readonly file: string;
  readonly value: string;
  /** The kernel may be built without it, or an outer group may already be tighter. */
  readonly optional: boolean;
}

export interface CgroupPlan {
  readonly version: 1 | 2;
  readonly parents: Readonly<Partial<Record<Controller, string>>>;
  readonly writes: readonly CgroupWrite[];
}

export interface LimitsPlan {
  readonly rlimits: readonly ResourceLimit[];
  readonly cgroup?: CgroupPlan;
  readonly strength: Readonly<Record<LimitName, Strength>>;
  /** Memory of the whole sandbox, in bytes, that no control group holds: the caller has to watch it. */
  readonly watchBytes?: number;
  /** Limits that have to hold and do not: the caller refuses the run with E_LIMIT_UNAVAILABLE. */
  readonly refused: readonly LimitName[];
  /** What a person should know: a value that was lowered, a limit that holds only in part. */
  readonly notices: readonly string[];
}

export interface LimitsInput {
  readonly limits: PlanLimits;
  readonly facts: CgroupFacts;
  /** The sandbox's processes are those of a kernel of its own, which runs on processes of this one. */
  readonly guestKernel?: boolean;
  /** That kernel is Linux: it has priorities to limit, and its agent leaves connections to somebody else. */
  readonly linuxGuest?: boolean;
  /**
   * The sandbox is a machine, whose memory is what it was built with; this many bytes more are used on the host by what runs it. Guests of
   * such a machine count with `guestKernel`.
   */
  readonly machineOverheadBytes?: number;
  /** Whether the host's process can see what the jail's processes hold, to end them when it is too much. */
  readonly watchable: boolean;
  readonly euid: number;
  /** Hard limits of this process; see `readHardLimits`. */
  readonly hard: ReadonlyMap<number, bigint>;
}

/** bubblewrap and the agent share the group with the user's processes. */
const OWN_PROCESSES = 2;
/** RLIMIT_NPROC counts per user namespace: of ours only the agent is in the jail's. */
const OWN_IN_JAIL = 1;
/** The guest's agent and the thread of its relay. */
const OWN_IN_GUEST = 2;
/**
 * Threads and processes that a guest kernel needs besides those of its programs: the runtime's own, and one or more for each address space.
 * At the limit it is the kernel that cannot go on, so there has to be room for all that its programs may start.
 */
const GUEST_KERNEL_PROCESSES = 1024;
const GUEST_KERNEL_FACTOR = 2;
/** Period of the CPU quota; the kernel's default (Documentation/scheduler/sched-bwc.rst). */
const CPU_PERIOD_US = 100_000;
/** The least quota that the kernel takes. */
const CPU_LEAST_US = 1000;
/** Key agents and language runtimes lock a few pages; the kernel's own default since 5.16. */
const MEMLOCK_BYTES = 8n * 1024n * 1024n;

/** What holds each limit here, and how strongly. Pure. */
export function planLimits(input: LimitsInput): LimitsPlan {
  const strength = strengths(input);
  const notices: string[] = [];
  const cgroup = planCgroup(hostLimits(input), input.facts);
  const watchBytes = strength.memory === 'weak' && input.watchable ? input.limits.memoryBytes : undefined;
  return {
    rlimits: planRlimits(input, strength, notices),
    ...(cgroup === undefined ? {} : { cgroup }),
    strength,
    ...(watchBytes === undefined ? {} : { watchBytes }),
    refused: refusedLimits(input.limits, strength),
    notices: [...notices, ...weakNotices(input, strength)],
  };
}

/** The guest kernel holds the limit on its own processes, a machine's that on memory too; ours is for what they are made of. */
function hostLimits({ limits, guestKernel, machineOverheadBytes = 0 }: LimitsInput): PlanLimits {
  const { pids, memoryBytes } = limits;
  if (guestKernel !== true) return limits;
  return {
    ...limits,
    ...(pids === undefined ? {} : { pids: pids * GUEST_KERNEL_FACTOR + GUEST_KERNEL_PROCESSES }),
    ...(memoryBytes === undefined ? {} : { memoryBytes: memoryBytes + machineOverheadBytes }),
  };
}

/** How strongly each limit can be held on this machine, whatever its value. */
export function strengths(
  input: Pick<LimitsInput, 'facts' | 'euid' | 'guestKernel' | 'machineOverheadBytes' | 'watchable'>,
): Record<LimitName, Strength> {
  const { facts } = input;
  return {
    cpu: facts.parents.cpu === undefined ? 'none' : 'full',
    memory: memoryStrength(input),
    pids: pidsStrength(input),
    files: 'full',
    fileSize: 'full',
    // Held by the host process, which counts and which keeps the clock.
    output: 'full',
    timeout: 'full',
    ttl: 'full',
  };
}

/**
 * RLIMIT_DATA bounds each process and not their sum; the watch bounds the sum, and looks at times only. A guest kernel has but the watch. A machine
 * has no more than it was built with.
 */
function memoryStrength({
  facts,
  guestKernel,
  machineOverheadBytes,
  watchable,
}: Pick<LimitsInput, 'facts' | 'guestKernel' | 'machineOverheadBytes' | 'watchable'>): Strength {
  if (facts.parents.memory !== undefined || machineOverheadBytes !== undefined) return 'full';
  return guestKernel === true && !watchable ? 'none' : 'weak';
}

/** RLIMIT_NPROC does not bind the user root (setrlimit(2)), and counts by user, not by sandbox; in a guest kernel that is the same. */
function pidsStrength({
  facts,
  euid,
  guestKernel,
}: Pick<LimitsInput, 'facts' | 'euid' | 'guestKernel'>): Strength {
  if (guestKernel === true) return 'full';
  if (facts.parents.pids !== undefined) return 'full';
  return euid === 0 ? 'none' : 'weak';
}

const VALUES = {
  cpu: 'cpu',
  memory: 'memoryBytes',
  pids: 'pids',
  files: 'files',
  fileSize: 'fileSizeBytes',
  output: 'outputBytes',
  timeout: 'timeoutMs',
  ttl: 'ttlMs',
} as const satisfies Record<LimitName, keyof PlanLimits>;

const NAMES: readonly LimitName[] = [
  'cpu',
  'memory',
  'pids',
  'files',
  'fileSize',
  'output',
  'timeout',
  'ttl',
];

function refusedLimits(limits: PlanLimits, strength: Readonly<Record<LimitName, Strength>>): LimitName[] {
  return NAMES.filter((name) => {
    if (limits[VALUES[name]] === undefined) return false;
    if (limits.require.includes(name)) return strength[name] !== 'full';
    return limits.explicit.includes(name) && strength[name] === 'none';
  });
}

function weakNotices(
  { limits, facts, watchable }: LimitsInput,
  strength: Readonly<Record<LimitName, Strength>>,
): string[] {
  const said: Partial<Record<LimitName, string>> = {
    cpu: 'no CPU limit',
    memory: memoryNotice(strength.memory, watchable),
    pids:
      strength.pids === 'none'
        ? 'no limit on processes'
        : 'processes are limited for the user, not for the sandbox',
  };
  const lost = NAMES.filter((name) => limits[VALUES[name]] !== undefined && strength[name] !== 'full');
  return lost.flatMap((name) => (said[name] === undefined ? [] : [`${said[name]} (${facts.detail})`]));
}

function memoryNotice(strength: Strength, watchable: boolean): string {
  if (strength === 'none') return 'no memory limit';
  return watchable
    ? 'the memory limit is held by watching'
    : 'memory is limited for each process, not for all together';
}

function planRlimits(
  { limits, hard, guestKernel, linuxGuest }: LimitsInput,
  strength: Readonly<Record<LimitName, Strength>>,
  notices: string[],
): ResourceLimit[] {
  const clamp = (resource: number, wanted: bigint, label?: string): ResourceLimit => {
    const most = hard.get(resource) ?? UNLIMITED;
    const value = wanted > most ? most : wanted;
    if (value < wanted && label !== undefined)
      notices.push(`${label} ${wanted} is above the hard limit here: ${value}`);
    return { resource, soft: value, hard: value };
  };
  const own: ResourceLimit[] = [
    // A core file holds memory, and lands in the workspace.
    clamp(RLIMIT.CORE, 0n),
    clamp(RLIMIT.MEMLOCK, MEMLOCK_BYTES),
    // gVisor has no priorities to limit, and refuses these two.
    ...(guestKernel === true && linuxGuest !== true
      ? []
      : [clamp(RLIMIT.NICE, 0n), clamp(RLIMIT.RTPRIO, 0n)]),
  ];
  if (limits.files !== undefined) own.push(clamp(RLIMIT.NOFILE, BigInt(limits.files), 'files'));
  if (limits.fileSizeBytes !== undefined)
    own.push(clamp(RLIMIT.FSIZE, BigInt(limits.fileSizeBytes), 'fileSize'));
  if (limits.memoryBytes !== undefined && strength.memory === 'weak') {
    // gVisor holds mappings to RLIMIT_AS alone, and that counts what is reserved as well: WebAssembly reserves gigabytes, and V8 does not start.
    if (guestKernel !== true) own.push(clamp(RLIMIT.DATA, BigInt(limits.memoryBytes), 'memory'));
  }
  if (limits.pids !== undefined && guestKernel === true)
    own.push({
      resource: RLIMIT.NPROC,
      ...both(BigInt(limits.pids + (linuxGuest === true ? OWN_IN_JAIL : OWN_IN_GUEST))),
    });
  if (limits.pids !== undefined && strength.pids === 'weak') {
    own.push(clamp(RLIMIT.NPROC, BigInt(limits.pids + OWN_IN_JAIL), 'pids'));
  }
  return own;
}

const both = (value: bigint): Pick<ResourceLimit, 'soft' | 'hard'> => ({ soft: value, hard: value });

function planCgroup(limits: PlanLimits, facts: CgroupFacts): CgroupPlan | undefined {
  if (facts.version === 0) return undefined;
  const { version, parents } = facts;
  const writes = version === 1 ? writesVersion1(limits) : writesVersion2(limits);
  return { version, parents, writes: writes.filter(({ controller }) => parents[controller] !== undefined) };
}

/** Documentation/admin-guide/cgroup-v1/{memory,pids}.rst. Memory before memory and swap: the second may not be below the first. */
function writesVersion1(limits: PlanLimits): CgroupWrite[] {
  const { memoryBytes, pids, cpu } = limits;
  const writes: CgroupWrite[] = [];
  if (memoryBytes !== undefined) {
    const value = String(memoryBytes);
    writes.push({ controller: 'memory', file: 'memory.limit_in_bytes', value, optional: false });
    writes.push({ controller: 'memory', file: 'memory.memsw.limit_in_bytes', value, optional: true });
  }
  if (pids !== undefined) writes.push(pidsWrite(pids));
  if (cpu !== undefined) {
    writes.push({
      controller: 'cpu',
      file: 'cpu.cfs_period_us',
      value: String(CPU_PERIOD_US),
      optional: false,
    });
    // A quota above that of an outer group is refused: the outer one is tighter, and holds.
    writes.push({ controller: 'cpu', file: 'cpu.cfs_quota_us', value: String(quota(cpu)), optional: true });
  }
  return writes;
}

function writesVersion2(limits: PlanLimits): CgroupWrite[] {
  const { memoryBytes, pids, cpu } = limits;
  const writes: CgroupWrite[] = [];
  if (memoryBytes !== undefined) {
    writes.push({ controller: 'memory', file: 'memory.max', value: String(memoryBytes), optional: false });
    writes.push({ controller: 'memory', file: 'memory.swap.max', value: '0', optional: true });
    writes.push({ controller: 'memory', file: 'memory.oom.group', value: '1', optional: true });
  }
  if (pids !== undefined) writes.push(pidsWrite(pids));
  if (cpu !== undefined) {
    writes.push({
      controller: 'cpu',
      file: 'cpu.max',
      value: `${quota(cpu)} ${CPU_PERIOD_US}`,
      optional: false,
    });
  }
  return writes;
}

function pidsWrite(pids: number): CgroupWrite {
  return { controller: 'pids', file: 'pids.max', value: String(pids + OWN_PROCESSES), optional: false };
}

function quota(cpu: number): number {
  return Math.max(CPU_LEAST_US, Math.round(cpu * CPU_PERIOD_US));
}
