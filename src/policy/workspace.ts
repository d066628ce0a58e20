import { realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import { gloveboxDirs } from '../base/paths.ts';
import type { PolicyContext } from './contract.ts';

/** Directories of the system: a workspace may be none of them. */
const SYSTEM_EXACT: ReadonlySet<string> = new Set([
  '/usr',
  '/usr/local',
  '/usr/src',
  '/opt',
  '/srv',
  '/mnt',
  '/media',
  '/home',
  '/root',
  '/var',
  '/var/lib',
  '/var/tmp',
  '/tmp',
]);
/** … and neither one of these nor anything in them. */
const SYSTEM_TREES = [
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/boot',
  '/dev',
  '/etc',
  '/proc',
  '/run',
  '/sys',
  '/usr/bin',
  '/usr/sbin',
  '/usr/lib',
  '/usr/lib32',
  '/usr/lib64',
  '/usr/libexec',
  '/usr/include',
  '/usr/share',
  '/usr/local/bin',
  '/usr/local/lib',
  '/usr/local/sbin',
];

/** Where workspaces stand that are made for a sandbox and go with it, in the cache directory. */
export const TEMPORARY = 'workspaces';

/** A workspace that may be used. */
export interface Workspace {
  /** As it was named, absolute. */
  readonly named: string;
  /** Where it really is: what the sandbox sees. */
  readonly real: string;
}

/**
 * Checks the one writable tree. A symlink is followed once, here, on the host; the sandbox gets the real path.
 *
 * @throws E_WORKSPACE_INVALID
 */
export function checkWorkspace(named: string, context: PolicyContext): Workspace {
  const absolute = path.resolve(context.cwd, named);
  if (/[\u0000-\u001f\u007f]/.test(absolute)) throw refuse(absolute, 'its name holds a control character');
  const real = realDirectory(absolute);
  const why = placeProblem(real, context);
  if (why !== undefined) throw refuse(real, why);
  return { named: absolute, real };
}

function realDirectory(absolute: string): string {
  try {
    const real = realpathSync.native(absolute);
    if (!statSync(real).isDirectory()) throw refuse(absolute, 'it is not a directory');
    if (/[\u0000-\u001f\u007f]/.test(real)) throw refuse(absolute, 'its real name holds a control character');
    return real;
  } catch (error) {
    if (error instanceof GloveboxError) throw error;
    const code = systemCode(error);
    if (code === 'ENOENT') throw refuse(absolute, 'it does not exist');
    throw refuse(
      absolute,
      code === 'ELOOP' ? 'it is a symbolic link that leads nowhere' : (code ?? String(error)),
    );
  }
}

function placeProblem(real: string, context: PolicyContext): string | undefined {
  const home = realOr(context.home);
  if (real === '/') return 'it is the whole machine';
  if (real === home)
    return 'it is your home directory: keys, logins and shell settings would be in the writable tree';
  if (isWithin(home, real)) return `your home directory ${printablePath(home)} lies in it`;
  if (SYSTEM_EXACT.has(real) || SYSTEM_TREES.some((tree) => isWithin(real, tree)))
    return 'it is a directory of the system';
  // A directory that Glovebox made for one sandbox alone.
  if (path.dirname(real) === realOr(path.join(context.cacheDir, TEMPORARY))) return undefined;
  const { runtime } = gloveboxDirs(context.env);
  for (const own of [context.configDir, context.stateDir, context.cacheDir, runtime].map(realOr)) {
    if (isWithin(own, real))
      return `Glovebox keeps its own files in ${printablePath(own)}, which the sandbox could then change`;
    if (isWithin(real, own)) return 'it is where Glovebox keeps its own files';
  }
  return undefined;
}

/** The real path of the longest part that exists, plus the rest. */
function realOr(target: string): string {
  for (let head = target, rest = ''; ;) {
    try {
      return path.join(realpathSync.native(head), rest);
    } catch {
      if (head === path.dirname(head)) return target;
      rest = path.join(path.basename(head), rest);
      head = path.dirname(head);
    }
  }
}

function refuse(target: string, why: string): GloveboxError {
  return new GloveboxError('E_WORKSPACE_INVALID', {
    what: `cannot use ${printablePath(target)} as the workspace`,
    why,
    context: { workspace: target },
  });
}
