import { AGENT_PATH } from '../bubblewrap/args.ts';
import type { Plan } from '../contract.ts';
import { JAIL, layoutOf, type GuestMount } from './layout.ts';

/** The part of an OCI runtime configuration that is used here (runtime-spec, config.md). */
export interface OciSpec {
  readonly ociVersion: string;
  readonly process: {
    readonly terminal: boolean;
    readonly user: { readonly uid: number; readonly gid: number };
    readonly args: readonly string[];
    readonly env: readonly string[];
    readonly cwd: string;
    readonly capabilities: Readonly<Record<CapabilitySet, readonly string[]>>;
    readonly rlimits: readonly { readonly type: string; readonly soft: number; readonly hard: number }[];
    readonly noNewPrivileges: boolean;
    readonly oomScoreAdj: number;
  };
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname: string;
  readonly mounts: readonly OciMount[];
  readonly linux: { readonly namespaces: readonly { readonly type: string }[] };
}

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const CAPABILITY_SETS = ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'] as const;

type CapabilitySet = (typeof CAPABILITY_SETS)[number];

/**
 * What the agent needs of the guest's own kernel before it gives everything up: addresses of its loopback interface, listening
 * on ports below 1024, and /dev for nobody. They reach nothing outside the guest.
 */
const CAPABILITIES = ['CAP_NET_ADMIN', 'CAP_NET_BIND_SERVICE', 'CAP_CHOWN'] as const;

/**
 * The most that proc_pid_oom_score_adj(5) knows. runsc sets it for the guest kernel itself and for the gofer, not for the processes that
 * stand for the guest's (they are forked before). Where a control group is full, the host's kernel ends one process, and that should be the guest kernel,
 * because it waits for ever for one of the others that was killed.
 */
const FIRST_TO_GO = 1000;

export interface SpecInput {
  readonly plan: Plan;
  /** Most descriptors of any process inside. */
  readonly files: number;
}

/**
 * The bundle's configuration. The guest starts as the one user that the jail knows, which is the caller; the agent gives it the
 * plan's ids in a user namespace of the guest's, as bubblewrap does in the process tier, and drops the capabilities. Pure.
 */
export function ociSpec({ plan, files }: SpecInput): OciSpec {
  return {
    ociVersion: '1.0.2',
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: [AGENT_PATH, 'init'],
      env: [],
      cwd: '/',
      capabilities: capabilities(),
      rlimits: [{ type: 'RLIMIT_NOFILE', soft: files, hard: files }],
      noNewPrivileges: true,
      oomScoreAdj: FIRST_TO_GO,
    },
    root: { path: JAIL.view, readonly: true },
    hostname: plan.identity.hostname,
    mounts: [...KERNEL_MOUNTS, ...layoutOf(plan).guest.map(ociMount)],
    // Without a network namespace of the sandbox runsc would open the jail's; a user namespace it cannot make below bubblewrap's.
    linux: { namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })) },
  };
}

function capabilities(): OciSpec['process']['capabilities'] {
  const used = new Set<CapabilitySet>(['bounding', 'effective', 'permitted']);
  const list = (set: CapabilitySet): readonly string[] => (used.has(set) ? CAPABILITIES : []);
  return {
    bounding: list('bounding'),
    effective: list('effective'),
    permitted: list('permitted'),
    inheritable: [],
    ambient: [],
  };
}

/** runsc would mount a sysfs of its own where none is named; a sandbox has none in any tier. */
const KERNEL_MOUNTS: readonly OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] },
  { destination: '/dev', type: 'dev', source: 'dev', options: ['nosuid', 'noexec'] },
  {
    destination: '/sys',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['ro', 'nosuid', 'nodev', 'noexec', 'mode=0555', 'size=4096'],
  },
];

function ociMount(mount: GuestMount): OciMount {
  if (mount.kind === 'tmpfs') {
    const size = [`mode=0${mount.mode.toString(8)}`, `size=${mount.bytes}`];
    return {
      destination: mount.target,
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'nodev', ...size],
    };
  }
  // Recursive: masks are mounts below, and a plain bind would leave them behind.
  const options = ['rbind', mount.writable ? 'rw' : 'ro', 'nosuid', 'nodev'];
  return { destination: mount.target, type: 'bind', source: `${JAIL.view}${mount.target}`, options };
}
