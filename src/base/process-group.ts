import type { ChildProcess } from 'node:child_process';

/**
 * KILL to a child that was started with `detached`, and to everything in its process group. Bubblewrap's own child heeds `--die-with-parent` only once
 * it is set up; one whose parent was killed before that would wait for ever. A child that is gone is left alone: its number may be another's.
 */
export function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid === undefined || exitCode !== null || signalCode !== null) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
