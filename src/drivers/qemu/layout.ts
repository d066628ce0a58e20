import { isWithin } from '../../base/path-bytes.ts';
import { GloveboxError } from '../../base/errors.ts';
import type { MachineMount } from '../../agent/machine-contract.ts';
import { SSH_AGENT_PATH } from '../inspection.ts';
import type { Mount, Plan } from '../contract.ts';

/** Where things stand in the two jails of a machine: the one of QEMU, and the one of the file server. */
export const PLACES = {
  /** The tree that the file server exports. */
  view: '/view',
  /** Sockets between the two jails and the host. */
  sockets: '/sockets',
  kernel: '/machine/kernel',
  initrd: '/machine/initrd',
  disk: '/machine/disk',
  /** What a machine goes on from: see template.ts. The agent knows it and the next one (agent/src/recall.c). */
  template: '/machine/template',
  /** Where a machine's memory is a file: a template in the making, or a copy of one. */
  memory: '/memory',
} as const;

/** The socket that QEMU takes orders through, below `PLACES.sockets`. */
export const CONTROL_SOCKET = 'control';

/** The directories that the host serves for a machine: each by a server of its own, in a jail of its own. The name is tag and socket. */
export type ShareName = 'base' | 'view';

/** A plan's view, cut into what the guest mounts and what the host shares for it. */
export interface MachineLayout {
  /** In order. */
  readonly guest: readonly MachineMount[];
  /** The base system, where the machine has no disk with it. */
  readonly base: readonly BindMount[];
  /** Trees of the policy. Empty: nothing is shared. */
  readonly view: readonly BindMount[];
}

/** What the host serves for a plan's machine: the base system where no disk has it, and trees of the policy where there are any. Pure. */
export function shareNames(plan: Plan, hasDisk: boolean): readonly ShareName[] {
  const { base, view } = machineLayout(plan);
  const served = { base: hasDisk ? [] : base, view };
  return (['base', 'view'] as const).filter((name) => served[name].length > 0);
}

type BindMount = Extract<Mount, { kind: 'bind' }>;

/**
 * The base system comes from a place of its own; trees of the policy come from the file server, with the masks that the host put over
 * them; everything else the guest makes itself. Pure.
 *
 * @throws E_UNSUPPORTED for a socket of the host, which no disk and no file server carries
 */
export function machineLayout(plan: Plan): MachineLayout {
  const end = plan.view.findIndex((mount) => mount.kind === 'proc');
  refuseSockets(plan.view.slice(end));
  return {
    guest: plan.view.flatMap((mount, index) => guestMount(mount, index < end)),
    base: plan.view.slice(0, end).filter(isBind),
    view: plan.view.slice(end).filter(isBind),
  };
}

const isBind = (mount: Mount): mount is BindMount => mount.kind === 'bind';

function refuseSockets(own: readonly Mount[]): void {
  if (!own.some((mount) => mount.target === SSH_AGENT_PATH)) return;
  throw new GloveboxError('E_UNSUPPORTED', {
    what: 'the vm tier cannot lend ssh keys',
    why: 'the agent that signs is a socket of the host, and a machine reaches none',
    next: 'Use the tier process or container for this policy, or git over HTTPS with a credential.',
  });
}

function guestMount(mount: Mount, isBase: boolean): readonly MachineMount[] {
  const { target } = mount;
  switch (mount.kind) {
    case 'bind':
      return isBase
        ? [{ kind: 'base', source: target, target }]
        : [{ kind: 'share', source: target, target, writable: mount.writable }];
    case 'symlink':
      return [{ kind: 'symlink', target, to: mount.to }];
    case 'dir':
      return [{ kind: 'dir', target, mode: mount.mode }];
    case 'tmpfs':
      return [{ kind: 'tmpfs', target, bytes: mount.bytes, mode: mount.mode }];
    case 'proc':
    case 'dev':
      return [{ kind: mount.kind, target }];
    case 'hidden':
      // The guest's kernel is its own: what tells of the host in /proc tells only of the machine, and what it lacks is no place to mount on.
      return isWithin(target, '/proc') ? [] : [{ kind: 'hidden', target, type: mount.type }];
    case 'file':
      return [{ kind: 'file', target, mode: 0o444, content: Buffer.from(mount.content) }];
    case 'made':
      return [];
  }
}
