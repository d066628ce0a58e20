import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { printablePath } from '../base/path-bytes.ts';

/** The bytes of a policy file with their hash. */
export interface FileBytes {
  readonly path: string;
  readonly bytes: Buffer;
  /** SHA-256, hex. */
  readonly sha256: string;
}

/**
 * How far a file is trusted. `own`: the person's or the administrator's, may be a symlink, nobody else may write it.
 * `package`: part of this program. `foreign`: from a workspace, never followed. `private`: written by Glovebox itself, only ours.
 */
export type FileKind = 'own' | 'package' | 'foreign' | 'private';

/**
 * Reads a small regular file, or returns undefined when there is none. Nothing is parsed.
 *
 * @throws E_POLICY_INVALID for anything else than a regular file of reasonable size and safe owner, E_IO when unreadable.
 */
export function readSmallFile(path: string, kind: FileKind): FileBytes | undefined {
  const fd = openQuietly(path, kind);
  if (fd === undefined) return undefined;
  try {
    checkStat(path, fd, kind);
    const bytes = readCapped(fd);
    if (bytes === undefined) throw invalid(path, `it is larger than ${CAPS.policyFileBytes} bytes`);
    return { path, bytes, sha256: sha256(bytes) };
  } catch (error) {
    if (error instanceof GloveboxError) throw error;
    throw unreadable(path, error);
  } finally {
    closeSync(fd);
  }
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** O_NONBLOCK: opening a FIFO that a workspace planted must not wait for a writer. */
function openQuietly(path: string, kind: FileKind): number | undefined {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    return openSync(path, O_RDONLY | O_NONBLOCK | (kind === 'own' || kind === 'package' ? 0 : O_NOFOLLOW));
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code === 'ELOOP') throw invalid(path, 'it is a symbolic link');
    throw unreadable(path, error);
  }
}

function checkStat(path: string, fd: number, kind: FileKind): void {
  const stat = fstatSync(fd);
  if (!stat.isFile()) throw invalid(path, 'it is not a regular file');
  if (kind === 'foreign' || kind === 'package') return;
  const uid = process.getuid?.() ?? stat.uid;
  if (stat.uid !== uid && (kind === 'private' || stat.uid !== 0))
    throw invalid(path, `it belongs to uid ${stat.uid}`);
  // Many systems give each person a group of their own and make files group-writable (umask 002).
  const ownGroup = stat.gid === process.getgid?.() || stat.gid === 0;
  const loose = kind === 'private' ? 0o077 : ownGroup ? 0o002 : 0o022;
  if ((stat.mode & loose) !== 0)
    throw invalid(path, 'others may write it', `Run: chmod go-w '${printablePath(path)}'`);
}

function readCapped(fd: number): Buffer | undefined {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const chunk = Buffer.allocUnsafe(32 * 1024);
    const count = readSync(fd, chunk, 0, chunk.length, null);
    if (count === 0) return Buffer.concat(chunks, total);
    total += count;
    if (total > CAPS.policyFileBytes) return undefined;
    chunks.push(chunk.subarray(0, count));
  }
}

function invalid(path: string, why: string, next?: string): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', {
    what: `cannot use ${printablePath(path)}`,
    why,
    ...(next === undefined ? {} : { next }),
    context: { file: path },
  });
}

function unreadable(path: string, error: unknown): GloveboxError {
  return new GloveboxError('E_IO', {
    what: `cannot read ${printablePath(path)}`,
    why: systemCode(error) ?? String(error),
    context: { file: path },
    cause: error,
  });
}
