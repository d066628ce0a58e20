import { AGENT_PATH, mountArgs } from '../bubblewrap/args.ts';
import type { Plan } from '../contract.ts';
import { JAIL, layoutOf } from './layout.ts';

/** A way of running the guest's code: see `runsc help platforms`. */
export type Platform = 'systrap' | 'ptrace' | 'kvm';

export interface JailInput {
  readonly plan: Plan;
  /** The agent binary on the host. */
  readonly agent: string;
  /** runsc on the host. */
  readonly runsc: string;
  /** Directory the airlock mounts its private files on. */
  readonly scratch: string;
  readonly platform: Platform;
}

/**
 * What runsc does with each, all in a user namespace that owns nothing of the host's and knows one user, the caller. SYS_ADMIN and
 * SYS_CHROOT: namespaces, mounts and file trees of its own. SETUID, SETGID and SETFCAP: its kernel and its gofer get a user namespace
 * each, and writing the id maps takes these (user_namespaces(7)). SETPCAP: it gives up what it does not need. DAC_OVERRIDE: the gofer opens a file
 * again that a program made read-only and still writes to, as git does; it reaches the caller's own files only
 * (capabilities(7), "Capabilities and user namespaces"), and whether the program may is the guest kernel's to say.
 */
const CAPABILITIES = [
  'CAP_SYS_ADMIN',
  'CAP_SYS_CHROOT',
  'CAP_SETUID',
  'CAP_SETGID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_DAC_OVERRIDE',
] as const;

/** State of runsc and its sockets: a few files of some KiB. */
const STATE_BYTES = 16 * 1024 * 1024;

/**
 * The bubblewrap command line of the jail around a guest kernel. As in the process tier, with three differences: the plan's view
 * stands below a directory, where it is the guest's whole root; the caller is uid 0 of the jail's own user namespace and keeps
 * capabilities in it; and user namespaces stay allowed, because runsc gives its kernel and its gofer one each. Pure.
 */
export function jailArgs(input: JailInput): readonly string[] {
  const { plan, agent, scratch } = input;
  return [
    ...jailFrame({ ...input, hostname: plan.identity.hostname }),
    ...['--ro-bind', `${scratch}${JAIL.bundle}`, JAIL.bundle],
    ...layoutOf(plan).jail.flatMap((mount) => mountArgs(mount, scratch, JAIL.view)),
    // Last, so that no tree of the policy covers it. The jail's own is the same one: each bind costs a look at all mounts.
    ...['--ro-bind', agent, `${JAIL.view}${AGENT_PATH}`, '--remount-ro', '/', '--chdir', '/'],
    ...['--', `${JAIL.view}${AGENT_PATH}`, 'init'],
  ];
}

/** The part of the jail that is the same whatever the guest sees. Pure. */
export function jailFrame({
  runsc,
  platform,
  hostname,
}: Pick<JailInput, 'runsc' | 'platform'> & { readonly hostname: string }): readonly string[] {
  return [
    'bwrap',
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup'],
    ...['--as-pid-1', '--die-with-parent', '--clearenv', '--cap-drop', 'ALL'],
    ...CAPABILITIES.flatMap((name) => ['--cap-add', name]),
    ...['--uid', '0', '--gid', '0', '--hostname', hostname],
    // Of devices runsc needs this one. It builds the file tree that the guest kernel is locked into over /tmp.
    ...['--proc', '/proc', '--dev-bind', '/dev/null', '/dev/null', '--dir', '/tmp'],
    ...(platform === 'kvm' ? ['--dev-bind', '/dev/kvm', '/dev/kvm'] : []),
    ...[
      '--perms',
      '700',
      '--size',
      String(STATE_BYTES),
      '--tmpfs',
      JAIL.state,
      '--ro-bind',
      runsc,
      JAIL.runsc,
    ],
  ];
}

/** The name of the only container of a jail. */
const CONTAINER = 'guest';

/**
 * The runtime's descriptor of the channel to the guest's agent, which has the number of every tier there. A high one: the table of descriptors
 * is as large from the start, and so are those of the processes that runsc starts. To enlarge it later, where a process has
 * threads, waits for all CPUs (synchronize_rcu in fs/file.c).
 */
export const CHANNEL = 255;

/**
 * The runtime's command line inside the jail. The channel is none of the standard descriptors: those the guest gets as well, and
 * when it closes one, gVisor shuts the socket down for both. Pure.
 */
export function runtimeArgs({ platform }: Pick<JailInput, 'platform'>): readonly string[] {
  return [...runtimeFlags(platform), 'run', `--pass-fd=${CHANNEL}:4`, `--bundle=${JAIL.bundle}`, CONTAINER];
}

/** How the runtime works, whatever it runs. Pure. */
export function runtimeFlags(platform: Platform): readonly string[] {
  return [
    JAIL.runsc,
    `--root=${JAIL.state}`,
    `--platform=${platform}`,
    // The guest's sockets are its kernel's own; the way out is one unix socket, which it may open and never make.
    ...['--network=none', '--host-uds=open', '--net-raw=false'],
    // The jail's cgroup holds everything.
    '--ignore-cgroups',
    // Files are opened, renamed and removed by the gofer, whose mount namespace has the masks. With directfs the guest kernel would do it
    // itself, from a mount namespace without them: there the kernel lets a mount point be renamed or removed (rename(2), EBUSY).
    // Without directfs runsc takes an unmapped user for its kernel, unless it is told that there is only one.
    ...['--directfs=false', '--rootless'],
    // A root that cannot be written says so, as in the process tier; an overlay would take writes and forget them.
    ...['--overlay2=none', '--file-access=exclusive', '--file-access-mounts=shared'],
  ];
}
