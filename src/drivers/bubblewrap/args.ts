import type { Mount, Plan } from '../contract.ts';
import { ASSEMBLED, assemble } from './assembly.ts';

/** Where the agent's binary stands inside. */
export const AGENT_PATH = '/.glovebox/agent';

export interface BubblewrapInput {
  readonly plan: Plan;
  /** The agent binary on the host. */
  readonly agent: string;
  /** Directory the airlock mounts its private files on; `/etc` and `file` mounts are taken from it. */
  readonly scratch: string;
}

/**
 * The bubblewrap command line of a plan (bwrap(1)). The network namespace is the airlock's, made before: a user
 * namespace below it owns nothing of it, so no route can be touched from inside.
 */
export function bubblewrapArgs(input: BubblewrapInput): readonly string[] {
  const { plan } = input;
  return [
    'bwrap',
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup'],
    ...(plan.syscalls.nesting ? [] : ['--disable-userns']),
    ...['--as-pid-1', '--die-with-parent', '--clearenv', '--cap-drop', 'ALL'],
    ...['--uid', String(plan.identity.uid), '--gid', String(plan.identity.gid)],
    ...['--hostname', plan.identity.hostname],
    ...assemble(plan).mounts.flatMap((mount) => mountArgs(mount, input.scratch)),
    // Last, so that no tree of the policy covers it.
    ...['--ro-bind', input.agent, AGENT_PATH, '--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/'],
    ...['--', AGENT_PATH, 'init'],
  ];
}

/** What puts one mount of the view below `root`. */
export function mountArgs(mount: Mount, scratch: string, root = ''): readonly string[] {
  const target = `${root}${mount.target}`;
  switch (mount.kind) {
    case 'bind':
      return [mount.writable ? '--bind' : '--ro-bind', mount.source, target];
    case 'symlink':
      return ['--symlink', mount.to, target];
    case 'tmpfs':
      return ['--perms', mount.mode.toString(8), '--size', String(mount.bytes), '--tmpfs', target];
    case 'dir':
      if (mount.target === ASSEMBLED) return ['--ro-bind', `${scratch}${ASSEMBLED}`, target];
      return ['--perms', mount.mode.toString(8), '--dir', target];
    case 'made':
      // Filled in before; what was not made is not there.
      return [];
    case 'proc':
      return ['--proc', target];
    case 'dev':
      return ['--dev', target];
    case 'hidden':
      return ['--ro-bind', `${scratch}/hidden-${mount.type}`, target];
    case 'file':
      return ['--ro-bind', `${scratch}/${scratchName(mount.target)}`, target];
  }
}

/** Name of a synthetic file in the scratch directory: one level, no separators. */
export function scratchName(target: string): string {
  return target.slice(1).replaceAll('/', '-');
}
