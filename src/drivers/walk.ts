import { readdirSync } from 'node:fs';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { fsPath, pathFromBytes } from '../base/path-bytes.ts';
import type { PathType } from './facts.ts';

/** An entry that the walk came by. */
export interface WalkEntry {
  /** Absolute. */
  readonly path: string;
  readonly type: PathType;
}

/**
 * Visits every entry below a directory, parents first, without following symlinks. `visit` answers whether to go
 * into a directory; `unreadable` hears of one that cannot be listed.
 *
 * @throws E_POLICY_INVALID when more than CAPS.globVisits entries were seen.
 */
export function walkTree(
  root: string,
  visit: (entry: WalkEntry) => boolean,
  unreadable: (dir: string) => void = () => undefined,
): void {
  const stack = [root];
  let seen = 0;
  for (let dir = stack.pop(); dir !== undefined; dir = stack.pop()) {
    const entries = readDirectory(dir);
    if (entries === undefined) unreadable(dir);
    for (const entry of entries ?? []) {
      if (++seen > CAPS.globVisits) throw tooLarge(root);
      if (visit(entry) && entry.type === 'dir') stack.push(entry.path);
    }
  }
}

/** The entries of one directory, or none when it cannot be read. */
export function listDirectory(dir: string): readonly WalkEntry[] {
  return readDirectory(dir) ?? [];
}

function readDirectory(dir: string): readonly WalkEntry[] | undefined {
  const base = dir === '/' ? '' : dir;
  try {
    return readdirSync(fsPath(dir), { withFileTypes: true, encoding: 'buffer' }).map((entry) => ({
      path: `${base}/${pathFromBytes(nameBytes(entry.name))}`,
      type: direntType(entry),
    }));
  } catch {
    return undefined;
  }
}

/** Node's types know no buffer encoding here (@types/node 20). */
const nameBytes = (name: Uint8Array | string): Uint8Array =>
  typeof name === 'string' ? Buffer.from(name) : name;

function direntType(entry: {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isSocket(): boolean;
}): PathType {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'dir';
  if (entry.isSymbolicLink()) return 'symlink';
  return entry.isSocket() ? 'socket' : 'other';
}

function tooLarge(root: string): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', {
    what: `more than ${CAPS.globVisits} files below ${root}`,
    why: 'a deny glob or a denied file with several hard links has to look at all of them',
    next: 'Use a narrower glob, or a smaller workspace.',
  });
}
