import { isWithin } from '../../base/path-bytes.ts';
import { ASSEMBLED } from '../bubblewrap/assembly.ts';
import type { MachineMount } from '../../agent/machine-contract.ts';
import { SSH_AGENT_PATH } from '../inspection.ts';
import type { Mount, Plan } from '../contract.ts';
import { partsOfView } from '../view-parts.ts';

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
/** The one of the machine's keeper (src/agent/keeper.ts), which the guest finds by a name of its own. */
export const KEEPER_SOCKET = 'keeper';
/** Where a machine that is copied writes what QEMU and its devices know. */
export const STATE_SOCKET = 'state';

/** The directories that the host serves for a machine: each by a server of its own, in a jail of its own. The name is tag and socket. */
export type ShareName = 'base' | 'view';

/** A plan's view, cut into what the guest mounts and what the host shares for it. */
export interface MachineLayout {
  /** In order. */
  readonly guest: readonly MachineMount[];
  /** The base system, where the host serves it. */
  readonly base: readonly Mount[];
  /** Trees of the policy and what lies among them. Empty: nothing is shared. */
  readonly view: readonly Mount[];
}

/** What the host serves for a plan's machine: the base system where no disk has it, and trees of the policy where there are any. Pure. */
export function shareNames(plan: Plan, hasDisk: boolean, copied?: Copied): readonly ShareName[] {
  const layout = machineLayout(plan, { copied, served: !hasDisk });
  return (['base', 'view'] as const).filter((name) => layout[name].length > 0);
}

/** Targets of trees that are copied into the machine, by number. */
type Copied = ReadonlyMap<string, number>;

export interface LayoutOptions {
  readonly copied?: Copied | undefined;
  /** The base system is not a disk of the machine. */
  readonly served: boolean;
}

type BindMount = Extract<Mount, { kind: 'bind' }>;

/**
 * The base system comes from a place of its own; trees of the policy come from the file server, with the masks that the host put over
 * them, or is copied into the machine's memory; the socket of a lent ssh agent is the machine's own, because no disk and no file server carries one of the host; everything else the
 * guest makes itself. Pure.
 */
export function machineLayout(plan: Plan, { copied = new Map(), served }: LayoutOptions): MachineLayout {
  const { base, own } = partsOfView(plan.view);
  // Of many small pieces, each of which an emulated machine would have to ask the server for: they are put together on the host.
  const assembled = new Set(served ? base.filter(({ target }) => isWithin(target, ASSEMBLED)) : []);
  const view = sharedView(own, copied);
  const shared = new Set<Mount>(view);
  return {
    guest: plan.view.flatMap((mount, index) => {
      if (assembled.has(mount)) return mount.target === ASSEMBLED ? [baseMount(mount.target)] : [];
      if (shared.has(mount)) return [shareMount(mount)];
      return guestMount(mount, index < base.length ? 'base' : copied.get(mount.target));
    }),
    base: served
      ? base.filter((mount) => (assembled.has(mount) ? mount.target === ASSEMBLED : isBind(mount)))
      : [],
    view,
  };
}

/**
 * Trees of the policy, and where there are any, what is made for one sandbox as well (an authority, placeholders): what a guest is told
 * is then the same for each sandbox of a plan.
 */
function sharedView(own: readonly Mount[], copied: Copied): readonly Mount[] {
  const trees = own.filter(isBind).filter((mount) => !isAgent(mount) && !copied.has(mount.target));
  const isTree = new Set<Mount>(trees);
  return trees.length === 0 ? [] : own.filter((mount) => isTree.has(mount) || mount.kind === 'file');
}

const shareMount = (mount: Mount): MachineMount => ({
  kind: 'share',
  source: mount.target,
  target: mount.target,
  writable: mount.kind === 'bind' && mount.writable,
});

/** What of a plan the machine needs from the host besides its base system. Pure. */
export const policyTrees = (plan: Plan): readonly BindMount[] =>
  machineLayout(plan, { served: false }).view.filter(isBind);

const isBind = (mount: Mount): mount is BindMount => mount.kind === 'bind';

const isAgent = ({ target }: Mount): boolean => target === SSH_AGENT_PATH;

const baseMount = (target: string): MachineMount => ({ kind: 'base', source: target, target });

function guestMount(mount: Mount, place: 'base' | number | undefined): readonly MachineMount[] {
  const { target } = mount;
  switch (mount.kind) {
    case 'bind':
      if (isAgent(mount)) return [{ kind: 'own', source: '/ssh-agent.sock', target }];
      if (place === 'base') return [baseMount(target)];
      return place === undefined
        ? [shareMount(mount)]
        : [{ kind: 'copied', source: `/${place}`, target, writable: mount.writable }];
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
