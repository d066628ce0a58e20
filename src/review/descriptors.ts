import { closeSync, constants, lstatSync, opendirSync, openSync, type BigIntStats } from 'node:fs';
import { systemCode } from '../base/errors.ts';
import { pathFromBytes, pathToBytes } from '../base/path-bytes.ts';

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

/**
 * Node has no openat(2), but a descriptor has a path: `/proc/self/fd/N/name` is looked up in the directory itself, wherever somebody
 * has moved it meanwhile (proc_pid_fd(5)). Every name is one component, so no symbolic link is ever followed on the way.
 */
export const at = (dir: number, name: string): Buffer =>
  Buffer.concat([Buffer.from(`/proc/self/fd/${dir}/`), pathToBytes(name)]);

/** A directory by its path; its last component may not be a symbolic link. */
export const openRoot = (path: string): number =>
  openSync(pathToBytes(path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

/** A directory in a directory. */
export const openDirAt = (dir: number, name: string): number =>
  openSync(at(dir, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

/** A file to read; what it is has to be looked at afterwards. Never waits for a pipe. */
export const openFileAt = (dir: number, name: string): number =>
  openSync(at(dir, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);

/** What stands there; undefined for nothing. */
export const statAt = (dir: number, name: string): BigIntStats | undefined =>
  lstatSync(at(dir, name), { bigint: true, throwIfNoEntry: false });

/** Names in a directory, one after the other: an untrusted one may have millions. */
export function* namesIn(dir: number): Generator<string, void, undefined> {
  const list = opendirSync(`/proc/self/fd/${dir}`, { encoding: 'latin1', bufferSize: 256 });
  try {
    for (let entry = list.readSync(); entry !== null; entry = list.readSync())
      yield pathFromBytes(Buffer.from(entry.name, 'latin1'));
  } finally {
    list.closeSync();
  }
}

/** Runs `work` with the directory that holds `path`, which is below `root`. @throws ENOENT, ENOTDIR and ELOOP of the system */
export function inParent<T>(root: number, path: string, work: (dir: number, name: string) => T): T {
  const parts = path.split('/');
  const name = parts.pop() ?? '';
  const open: number[] = [];
  try {
    for (const part of parts) open.push(openDirAt(open.at(-1) ?? root, part));
    return work(open.at(-1) ?? root, name);
  } finally {
    for (const fd of open) closeSync(fd);
  }
}

/** The path does not lead anywhere, or not through directories. */
export const leadsNowhere = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(systemCode(error) ?? '');
