import { chmodSync, lstatSync, mkdirSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { GloveboxError, systemCode } from './errors.ts';

/** The directories Glovebox owns, all 0700. Source: XDG Base Directory Specification 0.8. */
export interface GloveboxDirs {
  readonly config: string;
  readonly state: string;
  readonly cache: string;
  readonly runtime: string;
}

/** The directories for an environment; nothing is created. Relative XDG values are ignored, as the specification says. */
export function gloveboxDirs(env: NodeJS.ProcessEnv = process.env): GloveboxDirs {
  const home = homeDirectory(env);
  const pick = (name: string, fallback: string): string => {
    const value = env[name];
    return path.join(value !== undefined && path.isAbsolute(value) ? value : fallback, 'glovebox');
  };
  const state = pick('XDG_STATE_HOME', path.join(home, '.local/state'));
  const runtime = env['XDG_RUNTIME_DIR'];
  return {
    config: pick('XDG_CONFIG_HOME', path.join(home, '.config')),
    state,
    cache: pick('XDG_CACHE_HOME', path.join(home, '.cache')),
    // Without a runtime directory of the session: never below /tmp, where others could have been first.
    runtime:
      runtime !== undefined && path.isAbsolute(runtime)
        ? path.join(runtime, 'glovebox')
        : path.join(state, 'run'),
  };
}

/** The caller's home directory: `$HOME` when absolute, else the password entry (`os.homedir` would answer the same relative `$HOME`). */
export function homeDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const home = env['HOME'];
  return home !== undefined && path.isAbsolute(home)
    ? path.normalize(home).replace(/(.)\/$/, '$1')
    : userInfo().homedir;
}

/** Creates a private directory (0700) and refuses one that somebody else owns or may write. */
export function ensurePrivateDir(dir: string): string {
  try {
    makeDirs(dir);
    const stat = statSync(dir);
    if (stat.uid !== process.getuid?.()) {
      throw new GloveboxError('E_IO', {
        what: `${dir} belongs to another user`,
        why: `its owner is uid ${stat.uid}`,
      });
    }
    if ((stat.mode & 0o077) !== 0) chmodSync(dir, 0o700);
    refuseForeignParents(dir);
    return dir;
  } catch (error) {
    if (error instanceof GloveboxError) throw error;
    throw new GloveboxError('E_IO', {
      what: `cannot use ${dir}`,
      why: systemCode(error) ?? String(error),
      cause: error,
    });
  }
}

/**
 * As `mkdir -p`; what it makes is private (0700). Node's own `recursive` never comes back where a directory takes no names, as /proc (Node 20).
 * Throws the error of mkdir(2).
 */
export function makeDirs(dir: string): void {
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch (error) {
    const code = systemCode(error);
    if (code === 'EEXIST' && statSync(dir).isDirectory()) return;
    const parent = path.dirname(dir);
    if (code !== 'ENOENT' || lstatSync(parent, { throwIfNoEntry: false }) !== undefined) throw error;
    makeDirs(parent);
    makeDirs(dir);
  }
}

/** Owner of what lies outside of a user namespace (user_namespaces(7), overflowuid). */
const OVERFLOW_UID = 65_534;

/** Whoever owns a directory above, or may write to it, can put another one in ours' place. */
function refuseForeignParents(dir: string): void {
  for (let parent = path.dirname(dir); ; parent = path.dirname(parent)) {
    const { uid, mode } = statSync(parent);
    const foreign = uid !== 0 && uid !== OVERFLOW_UID && uid !== process.getuid?.();
    // A sticky one lets everybody make names, and nobody take those of others.
    const open = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
    if (foreign || open) {
      throw new GloveboxError('E_IO', {
        what: `${dir} is not private`,
        why: foreign ? `${parent} belongs to uid ${uid}` : `everybody may write to ${parent}`,
        next: 'Set HOME and XDG_RUNTIME_DIR to directories of your own.',
      });
    }
    if (parent === path.dirname(parent)) return;
  }
}
