import { rmSync } from 'node:fs';
import path from 'node:path';
import { msUntil } from '../base/boot-clock.ts';
import type { GloveboxDirs } from '../base/paths.ts';
import { isAlive } from '../base/process-identity.ts';
import { TEMPORARY } from '../policy/workspace.ts';
import type { RunEntry, RunRegistry } from './registry.ts';

/** An owner that lives ends its sandboxes itself; one that is this late is stopped or hangs. */
const OVERDUE_MS = 5000;

/**
 * Ends what outlived its time: a sandbox whose end has passed while its owner does nothing about it. Its outermost process is
 * killed, and everything inside dies with that. Returns the ids.
 */
export function sweepOverdue(registry: RunRegistry): readonly string[] {
  return registry
    .living()
    .filter(({ served }) => served?.deadline !== undefined && msUntil(served.deadline) < -OVERDUE_MS)
    .filter(({ served }) => served !== undefined && isAlive(served.jail) && killed(served.jail.pid))
    .map(({ id }) => id);
}

function killed(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

/** Removes the directory that a dead run had for itself alone. Only one that stands where we make them. */
export function removeTemporary(entry: Pick<RunEntry, 'temporary'>, dirs: GloveboxDirs): void {
  const { temporary } = entry;
  if (temporary === undefined || path.dirname(temporary) !== temporaryRoot(dirs)) return;
  rmSync(temporary, { recursive: true, force: true });
}

/** Where workspaces are made that go with their sandbox. */
export function temporaryRoot(dirs: GloveboxDirs): string {
  return path.join(dirs.cache, TEMPORARY);
}
