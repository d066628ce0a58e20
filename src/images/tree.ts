import { chmodSync, lstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { systemCode } from '../base/errors.ts';
import { fsPath, pathFromBytes, pathToBytes } from '../base/path-bytes.ts';
import { CAPS } from '../base/caps.ts';
import { invalid, shown, tooLarge } from './invalid.ts';

/** Symlinks in a row: the kernel's own limit (path_resolution(7)). */
const LINKS = 40;

/** `lstat`, or undefined where nothing is. @throws E_IMAGE_TOO_LARGE for a path that the kernel does not take */
export function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(fsPath(path), { throwIfNoEntry: false });
  } catch (error) {
    if (systemCode(error) === 'ENOTDIR') return undefined;
    if (systemCode(error) === 'ENAMETOOLONG')
      throw tooLarge('a path in the image is too long', `${shown(path)}: with the directory that it lies in`);
    throw error;
  }
}

/** The target of a symlink, as its bytes say. */
export function linkOf(path: string): string {
  return pathFromBytes(readlinkSync(fsPath(path), { encoding: 'buffer' }));
}

/**
 * The parts of a name from an image, without `.` and empty ones; an absolute name is meant from the image's root.
 *
 * @throws E_IMAGE_INVALID for `..`, zero bytes and what no file system can hold
 */
export function partsOf(name: string): readonly string[] {
  if (name.includes('\0')) throw invalid('a name in the image holds a zero byte', shown(name));
  if (pathToBytes(name).length > CAPS.imagePathBytes)
    throw tooLarge('a name in the image is too long', `${shown(name)}: at most ${CAPS.imagePathBytes} bytes`);
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw invalid('a name in the image climbs out of it', shown(name));
  if (parts.length > CAPS.imageDepth)
    throw tooLarge('the image is too deep', `${shown(name)}: at most ${CAPS.imageDepth} directories`);
  const long = parts.find((part) => pathToBytes(part).length > CAPS.imageNameBytes);
  if (long !== undefined)
    throw tooLarge('a name in the image is too long', `${shown(long)}: at most ${CAPS.imageNameBytes} bytes`);
  return parts;
}

/**
 * Where a path of an image really lies: every symlink on the way is followed as if `root` were `/`, and `..` stops there, so the
 * answer is always `root` or below, and no part of it is a symlink.
 *
 * `missing: 'keep'` answers the path that would be made; the last part may be a symlink only with `follow: false`.
 */
export function resolveIn(
  root: string,
  parts: readonly string[],
  options: { readonly follow: boolean; readonly missing: 'keep' | 'undefined' },
): string | undefined {
  const left = [...parts].reverse();
  const done: string[] = [];
  for (let links = 0; left.length > 0;) {
    const part = left.pop() ?? '';
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    done.push(part);
    const here = join(root, done);
    if (left.length === 0 && !options.follow) return here;
    const stat = statOf(here);
    if (stat === undefined && options.missing === 'undefined') return undefined;
    if (stat?.isSymbolicLink() !== true) continue;
    if (++links > LINKS) throw invalid('a symlink in the image leads in a circle', shown(join('', done)));
    const target = linkOf(here);
    if (target.startsWith('/')) done.length = 0;
    else done.pop();
    left.push(...target.split('/').reverse());
  }
  return join(root, done);
}

const join = (root: string, parts: readonly string[]): string =>
  parts.length === 0 ? root : `${root}/${parts.join('/')}`;

/** Gives the owner of a tree the rights to read and remove it: what ran in it may have taken them. Follows no symlink. */
export function openUp(dir: string): void {
  chmodSync(fsPath(dir), (statOf(dir)?.mode ?? 0) | 0o700);
  for (const bytes of readdirSync(fsPath(dir), { encoding: 'buffer' })) {
    const child = `${dir}/${pathFromBytes(bytes)}`;
    const stat = statOf(child);
    if (stat?.isDirectory() === true) openUp(child);
    else if (stat?.isFile() === true && (stat.mode & 0o600) !== 0o600)
      chmodSync(fsPath(child), stat.mode | 0o600);
  }
}
