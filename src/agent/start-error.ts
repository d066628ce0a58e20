import { GloveboxError } from '../base/errors.ts';
import { printablePath } from '../base/path-bytes.ts';
import type { AgentExit } from './contract.ts';

/** errno(3), asm-generic/errno-base.h; the same on both architectures. */
const ERRNO = { ENOENT: 2, EACCES: 13, ENOTDIR: 20 } as const;
/** A path in a message. */
const SHOWN = 200;

/** The error for a command that did not start, or undefined when it did. `cwd` where the exit itself does not say it. */
export function commandError(exit: AgentExit, command: string, cwd?: string): GloveboxError | undefined {
  if (exit.refused === undefined) return undefined;
  const { stage, errno } = exit.refused;
  const context = { command, stage, errno };
  if (stage === 'chdir') return cwdError(exit.refused.cwd ?? cwd ?? 'its start directory', errno);
  if (exit.status === 127) {
    return new GloveboxError('E_COMMAND_NOT_FOUND', {
      what: `${command} does not exist inside the sandbox`,
      context,
    });
  }
  if (exit.status === 126) {
    return new GloveboxError('E_COMMAND_NOT_EXECUTABLE', { what: `${command} cannot be executed`, context });
  }
  const what = `the sandbox could not prepare ${command}`;
  return new GloveboxError('E_SANDBOX_START', { what, why: `${stage} failed (errno ${errno})`, context });
}

/** A directory in which nothing can be started. */
export function cwdError(cwd: string, errno?: number): GloveboxError {
  const text = printablePath(cwd);
  const dir = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  const context = { cwd: dir, ...(errno === undefined ? {} : { errno }) };
  if (errno === ERRNO.ENOENT)
    return new GloveboxError('E_CWD_INVALID', {
      what: `there is no directory ${dir} in the sandbox`,
      context,
    });
  const why =
    errno === ERRNO.ENOTDIR
      ? 'it is not a directory'
      : errno === ERRNO.EACCES
        ? 'it may not be entered'
        : `chdir failed (errno ${errno})`;
  return new GloveboxError('E_CWD_INVALID', {
    what: `nothing can start in ${dir} in the sandbox`,
    why,
    context,
  });
}
