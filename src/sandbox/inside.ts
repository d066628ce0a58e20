import { GloveboxError } from '../base/errors.ts';
import { printablePath } from '../base/path-bytes.ts';

/** PATH_MAX and NAME_MAX of linux/limits.h, in bytes. */
const PATH_BYTES = 4095;
const NAME_BYTES = 255;

/**
 * A path inside, absolute: relative ones begin at `base`.
 *
 * @throws `code` for what is no path at all: the wrong type, a NUL, too long
 */
export function insidePath(path: string, base: string, code: 'E_FILE_NAME' | 'E_CWD_INVALID'): string {
  const why = problemOf(path);
  if (why !== undefined) {
    const shown = typeof path === 'string' ? JSON.stringify(printablePath(path.slice(0, 100))) : String(path);
    throw new GloveboxError(code, { what: `${shown} is no path inside the sandbox`, why });
  }
  if (path.startsWith('/')) return path;
  return path === '' || path === '.' ? base : `${base}/${path}`;
}

/** Callers without types pass anything. */
function problemOf(path: unknown): string | undefined {
  if (typeof path !== 'string')
    return `it is ${path === null ? 'null' : `of type ${typeof path}`}, not a string`;
  if (path.includes('\0')) return 'it holds a NUL byte';
  const bytes = Buffer.byteLength(path);
  if (bytes > PATH_BYTES) return `it has ${bytes} bytes, at most ${PATH_BYTES}`;
  const long = path.split('/').find((name) => Buffer.byteLength(name) > NAME_BYTES);
  return long === undefined
    ? undefined
    : `a name in it has ${Buffer.byteLength(long)} bytes, at most ${NAME_BYTES}`;
}
