import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { once } from 'node:events';

const BWRAP = '/usr/bin/bwrap';
const PYTHON = '/usr/bin/python3';

/** Why jails with programs that take memory cannot run here, or undefined. */
export const hogMissing: string | undefined = [BWRAP, PYTHON].find((program) => !existsSync(program));

/** A Python program as bubblewrap starts the jail of a sandbox; resolves when it has written a line. */
export async function startHog(script: string): Promise<ChildProcess & { readonly pid: number }> {
  const jail = ['--unshare-user', '--unshare-pid', '--die-with-parent', '--as-pid-1'];
  const view = ['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc'];
  const child = spawn(BWRAP, [...jail, ...view, '--', PYTHON, '-c', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  const { pid } = child;
  if (pid === undefined || child.exitCode !== null) throw new Error('the hog did not start');
  return Object.assign(child, { pid });
}

export async function endHog(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await exited;
}
