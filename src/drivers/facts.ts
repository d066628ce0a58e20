import { type Stats, lstatSync, readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { systemCode } from '../base/errors.ts';
import { fsPath } from '../base/path-bytes.ts';
import { isPlaceholder } from '../base/placeholder.ts';

export type PathType = 'file' | 'dir' | 'symlink' | 'socket' | 'device' | 'other' | 'missing';

/** What stands at a path, without following its last component. */
export interface PathFact {
  readonly type: PathType;
  readonly dev: number;
  readonly ino: number;
  readonly nlink: number;
  readonly uid: number;
}

const MISSING: PathFact = { type: 'missing', dev: 0, ino: 0, nlink: 0, uid: 0 };

/** `lstat` as a fact; a path that cannot be looked at counts as missing, because the sandbox has no more rights than the caller. */
export function pathFact(target: string): PathFact {
  const stat = lstatSync(fsPath(target), { throwIfNoEntry: false });
  if (stat === undefined || isPlaceholder(stat)) return MISSING;
  return { type: typeOf(stat), dev: stat.dev, ino: stat.ino, nlink: stat.nlink, uid: stat.uid };
}

/** As `pathFact`, but an error such as EACCES or ENOTDIR counts as missing too. */
export function tryPathFact(target: string): PathFact {
  try {
    return pathFact(target);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return MISSING;
  }
}

function typeOf(stat: Stats): PathType {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'dir';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isSocket()) return 'socket';
  return stat.isCharacterDevice() || stat.isBlockDevice() ? 'device' : 'other';
}

/** The real path, or undefined when it does not lead anywhere (missing, cyclic, unreadable). */
export function realPath(target: string): string | undefined {
  try {
    return realpathSync.native(target);
  } catch {
    return undefined;
  }
}

/** Target of a symlink, absolute but not resolved further. */
export function linkTarget(link: string): string {
  return path.resolve(path.dirname(link), readlinkSync(link));
}

/** One line of /proc/self/mountinfo (proc(5)). */
export interface HostMount {
  readonly device: string;
  /** Directory of the file system that is mounted. */
  readonly root: string;
  readonly point: string;
}

/** The host's mounts, in mount order. */
export function hostMounts(): readonly HostMount[] {
  const text = readFileSync('/proc/self/mountinfo', 'utf8');
  const mounts: HostMount[] = [];
  for (const line of text.split('\n')) {
    const [, , device, root, point] = line.split(' ');
    if (device === undefined || root === undefined || point === undefined) continue;
    mounts.push({ device, root: unescapeMount(root), point: unescapeMount(point) });
  }
  return mounts;
}

/** Spaces, tabs, newlines and backslashes are octal escapes there. */
function unescapeMount(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

/** True when the directory exists, following symlinks. */
export function isDirectory(target: string): boolean {
  return statSync(target, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
