import { mkdtempSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { msUntil } from '../base/boot-clock.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../base/paths.ts';
import { isAlive, processIdentity } from '../base/process-identity.ts';
import { removeTree } from '../base/remove-tree.ts';
import { TEMPORARY } from '../policy/workspace.ts';
import type { RunRegistry } from './registry.ts';

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

/**
 * `sweepOverdue` at most once in the time that an owner is given: whoever makes sandboxes in a row does not read the entries of all of them
 * each time.
 */
export class OverdueSweep {
  /** By state directory. */
  readonly #lookedAt = new Map<string, number>();
  readonly #now: () => number;

  /** `now`: a clock that nobody can set, in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  run({ state }: Pick<GloveboxDirs, 'state'>, registry: RunRegistry): readonly string[] {
    const now = this.#now();
    if (now - (this.#lookedAt.get(state) ?? -OVERDUE_MS) < OVERDUE_MS) return [];
    this.#lookedAt.set(state, now);
    return sweepOverdue(registry);
  }
}

function killed(pid: number): boolean {
  try {
    process.kill(pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

/** An empty workspace. Its name says whose it is, so that one of a dead process is known whatever else that left. */
export function makeTemporary(dirs: GloveboxDirs): string {
  const owner = processIdentity(process.pid) ?? { pid: process.pid, startTicks: '0' };
  return mkdtempSync(
    path.join(ensurePrivateDir(temporaryRoot(dirs)), `ws-${owner.pid}-${owner.startTicks}-`),
  );
}

/** Removes the workspaces of processes that are dead. One that cannot be removed is nobody's end: the next sweep tries again. */
export async function sweepTemporaries(dirs: GloveboxDirs): Promise<void> {
  for (const name of namesIn(temporaryRoot(dirs))) {
    const [, pid, startTicks] = /^ws-(\d+)-(\d+)-/.exec(name) ?? [];
    if (pid === undefined || startTicks === undefined || isAlive({ pid: Number(pid), startTicks })) continue;
    await removeTemporary(path.join(temporaryRoot(dirs), name), dirs).catch(() => undefined);
  }
}

/** Removes a workspace that goes with its sandbox. Only one that stands where we make them. */
export async function removeTemporary(temporary: string, dirs: GloveboxDirs): Promise<void> {
  if (isTemporary(temporary, dirs)) await removeTree(temporary);
}

function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** True for a workspace that goes with its sandbox. */
export const isTemporary = (workspace: string, dirs: GloveboxDirs): boolean =>
  path.dirname(workspace) === temporaryRoot(dirs);

/** Where they are made. */
export function temporaryRoot(dirs: GloveboxDirs): string {
  return path.join(dirs.cache, TEMPORARY);
}
