import path from 'node:path';
import { isWithin } from '../../base/path-bytes.ts';
import { AGENT_PATH } from '../bubblewrap/args.ts';
import { assemble } from '../bubblewrap/assembly.ts';
import type { Mount, Plan } from '../contract.ts';
import { partsOfView } from '../view-parts.ts';

/** Where things stand in the jail; the guest sees what is below `view`, and nothing else of the jail. */
export const JAIL = {
  view: '/view',
  runsc: '/runsc',
  bundle: '/bundle',
  state: '/state',
} as const;

/** A file system that the guest mounts over its root. */
export type GuestMount =
  /** A part of the view that is read or written through: the guest looks again each time, because the host may change it. */
  | { readonly kind: 'shared'; readonly target: string; readonly writable: boolean }
  /** The guest kernel's own memory. */
  | { readonly kind: 'tmpfs'; readonly target: string; readonly bytes: number; readonly mode: number };

/** A plan's view, cut into what the jail mounts below `JAIL.view` and what the guest mounts itself. */
export interface Layout {
  readonly jail: readonly Mount[];
  readonly guest: readonly GuestMount[];
}

/** The agent and what is made for one sandbox: parts of the root that nobody changes. */
const OWN_FILES = path.dirname(AGENT_PATH);

/** What the guest kernel makes itself. The jail has a place for each. */
export const GUEST_OWN = ['/proc', '/dev', '/sys'] as const;

/** Pure. */
export function layoutOf(plan: Plan): Layout {
  const places = GUEST_OWN.map((target): Mount => place(target, 0o555));
  const jail = assemble(plan).mounts.flatMap((mount) => jailMount(mount, plan.view));
  return { jail: [...places, ...jail], guest: guestMounts(plan.view) };
}

const place = (target: string, mode: number): Mount => ({
  kind: 'dir',
  target,
  mode,
  why: 'the guest kernel mounts here',
});

function jailMount(mount: Mount, view: Plan['view']): readonly Mount[] {
  if (mount.kind === 'proc' || mount.kind === 'dev') return [];
  // What the process tier hides of /proc, a guest kernel's does not have.
  if (GUEST_OWN.some((own) => isWithin(mount.target, own))) return [];
  if (mount.kind === 'tmpfs' && isGuestMemory(mount, view)) return [place(mount.target, mount.mode)];
  return [mount];
}

/**
 * A scratch directory in which nothing of the host stands is the guest kernel's own. One that holds a tree is made by the jail: only
 * there a later mount finds a place of the right kind.
 */
function isGuestMemory(mount: Mount, view: Plan['view']): boolean {
  return !view.some((other) => other !== mount && isWithin(other.target, mount.target));
}

function guestMounts(view: Plan['view']): readonly GuestMount[] {
  // The base system is not changed while a sandbox lives, and may be remembered.
  const { own } = partsOfView(view);
  const mounts: GuestMount[] = [];
  for (const mount of own) {
    if (mount.kind === 'tmpfs' && isGuestMemory(mount, view)) {
      const { target, bytes, mode } = mount;
      mounts.push({ kind: 'tmpfs', target, bytes, mode });
    } else if (mount.kind === 'tmpfs' || (mount.kind === 'bind' && !isWithin(mount.target, OWN_FILES))) {
      addShared(mounts, mount.target, mount.kind === 'tmpfs' || mount.writable);
    }
  }
  return mounts;
}

/** One below another comes along with it, and is as writable as its own mount in the jail says. */
function addShared(mounts: GuestMount[], target: string, writable: boolean): void {
  if (mounts.some((outer) => outer.kind === 'shared' && outer.writable && isWithin(target, outer.target)))
    return;
  mounts.push({ kind: 'shared', target, writable });
}
