import { constants } from 'node:os';
import { pathFromBytes, printablePath } from '../base/path-bytes.ts';
import { GloveboxError, type ErrorCode } from '../base/errors.ts';
import type { PathBytes } from './contract.ts';
import { errnoName } from './lifecycle.ts';
import type { WorkResult } from './records.ts';

const { errno: E } = constants;

/** errno(3) by what the caller can do about it; anything else is `E_IO`. */
const CODES: ReadonlyMap<number, ErrorCode> = new Map<number, ErrorCode>([
  [E.ENOENT, 'E_FILE_NOT_FOUND'],
  [E.EEXIST, 'E_FILE_EXISTS'],
  [E.EACCES, 'E_FILE_PERMISSION'],
  [E.EPERM, 'E_FILE_PERMISSION'],
  [E.EROFS, 'E_FILE_PERMISSION'],
  [E.ENOTDIR, 'E_FILE_NOT_DIRECTORY'],
  [E.EISDIR, 'E_FILE_IS_DIRECTORY'],
  [E.ENOTEMPTY, 'E_FILE_NOT_EMPTY'],
  [E.EFBIG, 'E_FILE_TOO_LARGE'],
  [E.ENOSPC, 'E_FILE_NO_SPACE'],
  [E.EDQUOT, 'E_FILE_NO_SPACE'],
  [E.EBUSY, 'E_FILE_BUSY'],
  [E.ETXTBSY, 'E_FILE_BUSY'],
  [E.EOPNOTSUPP, 'E_FILE_UNSUPPORTED'],
  [E.ENAMETOOLONG, 'E_FILE_NAME'],
  [E.ELOOP, 'E_FILE_NAME'],
  [E.EAGAIN, 'E_LIMIT_EXCEEDED'],
  [E.EMFILE, 'E_LIMIT_EXCEEDED'],
]);

/** A path of a sandbox for people. */
export const shownPath = (path: PathBytes): string =>
  printablePath(typeof path === 'string' ? path : pathFromBytes(path));

/** What work that failed means to whoever asked for it; `operation` is a verb: `read`, `list`. */
export function fileError(operation: string, path: PathBytes, result: WorkResult): GloveboxError {
  const shown = shownPath(path);
  const context = {
    operation,
    path: shown,
    errno: result.errno,
    name: errnoName(result.errno),
    step: result.step,
  };
  if (result.signal > 0)
    return new GloveboxError('E_IO', {
      what: `cannot ${operation} ${shown} inside the sandbox`,
      why: `what did it was killed by signal ${result.signal}`,
      context: { ...context, signal: result.signal },
    });
  return new GloveboxError(CODES.get(result.errno) ?? 'E_IO', {
    what: `cannot ${operation} ${shown} inside the sandbox`,
    why: `${result.step}: ${errnoName(result.errno)}`,
    context,
  });
}

export function abortedError(what: string, signal?: AbortSignal): GloveboxError {
  return new GloveboxError('E_ABORTED', { what: `${what} was aborted`, cause: signal?.reason });
}
