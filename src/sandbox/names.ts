import { createHash } from 'node:crypto';
import path from 'node:path';
import { GloveboxError } from '../base/errors.ts';
import { withFileLock } from '../base/file-lock.ts';
import { ensurePrivateDir, gloveboxDirs } from '../base/paths.ts';

/** Two processes that want one name take turns; a sandbox takes seconds to start at worst. */
const WAIT_MS = 60_000;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/**
 * Runs `work` while this process alone may look for a sandbox of that name, or make it.
 *
 * @throws E_USAGE for what is no name, E_IO when another process holds it for too long
 */
export function withName<T>(name: string, env: NodeJS.ProcessEnv, work: () => Promise<T>): Promise<T> {
  if (!NAME.test(name)) {
    throw new GloveboxError('E_USAGE', {
      what: `"${name}" cannot be the name of a sandbox`,
      next: 'Use at most 63 letters, digits, ".", "_" and "-", beginning with a letter or digit.',
    });
  }
  const dir = ensurePrivateDir(path.join(gloveboxDirs(env).state, 'names'));
  const file = path.join(dir, createHash('sha256').update(name).digest('hex').slice(0, 32));
  return withFileLock(file, { waitMs: WAIT_MS, busy: `starting the sandbox ${name}` }, work);
}

/** The error for a name that a living sandbox has. */
export function nameTaken(name: string): GloveboxError {
  return new GloveboxError('E_NAME_TAKEN', {
    what: `a living sandbox has the name ${name}`,
    next: 'Use `Sandbox.getOrCreate` to get it, or another name.',
  });
}
