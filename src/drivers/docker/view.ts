import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { isWithin, printablePath } from '../../base/path-bytes.ts';
import type { Mount, Plan } from '../contract.ts';

/** Something of the root file system itself: the image that an engine starts from has these, and no file. */
export type RootEntry =
  | { readonly kind: 'dir'; readonly path: string; readonly mode: number }
  | { readonly kind: 'symlink'; readonly path: string; readonly to: string };

/** What an engine mounts over the root. */
export type EngineMount =
  | { readonly kind: 'bind'; readonly source: string; readonly target: string; readonly writable: boolean }
  | { readonly kind: 'tmpfs'; readonly target: string; readonly bytes: number; readonly mode: number };

/** A file that is made for one sandbox, in its private directory. */
export interface PrivateFile {
  readonly name: string;
  readonly content: string | Uint8Array;
}

/** A plan's view, cut into what the image has and what the engine mounts. */
export interface EngineView {
  readonly root: readonly RootEntry[];
  readonly mounts: readonly EngineMount[];
  readonly files: readonly PrivateFile[];
}

/** Unreadable ones that stand over what is hidden, in the private directory. */
export const COVER = { file: 'hidden-file', dir: 'hidden-dir', empty: 'empty-dir' } as const;

/**
 * What engines hide of /proc by themselves (the default `maskedPaths` of moby and of containers/common), and what tells nothing where
 * the sandbox has a user namespace: /proc/key-users lists users of the reader's own only (security/keys/proc.c).
 */
const ALREADY_HIDDEN = new Set([
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/key-users',
]);

/**
 * Cuts a view. `own` is the sandbox's private directory on the host, where `files` and the covers will be. Pure.
 *
 * @throws E_UNSUPPORTED for what an engine cannot mount; nothing is left out quietly
 */
export function engineView(view: Plan['view'], own: string): EngineView {
  const root: RootEntry[] = [];
  const mounts: EngineMount[] = [];
  const files: PrivateFile[] = [];
  for (const mount of effective(view)) {
    refuseOddPaths(mount);
    if (mount.kind === 'dir' || mount.kind === 'symlink') root.push(rootEntry(mount, view));
    else if (mount.kind === 'file') {
      const name = `file-${files.length}`;
      files.push({ name, content: mount.content });
      mounts.push(bind(path.join(own, name), mount.target, false));
    } else if (mount.kind === 'hidden') mounts.push(...hiddenMount(mount, own));
    else if (mount.kind === 'bind') mounts.push(bind(mount.source, mount.target, mount.writable));
    else if (mount.kind === 'tmpfs')
      mounts.push({ kind: 'tmpfs', target: mount.target, bytes: mount.bytes, mode: mount.mode });
  }
  return { root, mounts, files };
}

export function bind(source: string, target: string, writable: boolean): EngineMount {
  return { kind: 'bind', source, target, writable };
}

/**
 * Engines mount outer directories first, whatever the order of the command line. A plan may cover something of the base system by a
 * tree of the policy that lies above it: that is not there to be seen, so it is left out. /proc and /dev are the engine's own.
 */
function effective(view: Plan['view']): readonly Mount[] {
  return view.filter(
    (mount, index) =>
      mount.kind !== 'proc' &&
      mount.kind !== 'dev' &&
      mount.kind !== 'made' &&
      !view.some((later, at) => at > index && covers(later, mount)),
  );
}

function covers(later: Mount, earlier: Mount): boolean {
  const opaque = later.kind === 'bind' || later.kind === 'tmpfs' || later.kind === 'file';
  return opaque && isWithin(earlier.target, later.target);
}

function rootEntry(mount: Extract<Mount, { kind: 'dir' | 'symlink' }>, view: Plan['view']): RootEntry {
  const { target } = mount;
  const above = view.find(
    (other) =>
      (other.kind === 'bind' || other.kind === 'tmpfs') &&
      other.target !== target &&
      isWithin(target, other.target),
  );
  if (above !== undefined)
    throw unsupported(
      `${mount.kind} ${printablePath(target)}`,
      `an engine has no such thing inside ${printablePath(above.target)}`,
    );
  if (mount.kind === 'symlink') return { kind: 'symlink', path: target, to: mount.to };
  return { kind: 'dir', path: target, mode: mount.mode };
}

function hiddenMount(mount: Extract<Mount, { kind: 'hidden' }>, own: string): readonly EngineMount[] {
  if (ALREADY_HIDDEN.has(mount.target)) return [];
  if (isWithin(mount.target, '/proc'))
    throw unsupported(`hiding ${mount.target}`, 'engines hide a list of their own there, and no more');
  return [bind(path.join(own, COVER[mount.type]), mount.target, false)];
}

/** What the protocol of an engine cannot carry: it is JSON. */
function refuseOddPaths(mount: Mount): void {
  const paths = mount.kind === 'bind' ? [mount.source, mount.target] : [mount.target];
  for (const one of paths) refuseOddPath(one);
}

/** @throws E_UNSUPPORTED */
export function refuseOddPath(name: string): void {
  if (!/[\u0000-\u001f\uDC80-\uDCFF]/.test(name)) return;
  throw unsupported(
    `the path ${printablePath(name)}`,
    'an engine takes no control characters and only UTF-8',
  );
}

export function unsupported(what: string, why: string): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', {
    what: `a container engine cannot hold ${what}`,
    why,
    next: 'Use the container tier without an engine: --driver gvisor.',
  });
}
