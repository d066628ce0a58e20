import { readdirSync } from 'node:fs';
import path from 'node:path';
import { isAlive } from '../../base/process-identity.ts';
import { removeQuietly } from './cgroup.ts';
import type { CgroupFacts } from './facts.ts';
import { FAMILY, groupOwner } from './names.ts';

/**
 * Removes groups whose owner is dead and that are empty; returns their paths. Whether an owner lives is asked of the kernel,
 * never guessed from an age; a group with processes stays (rmdir(2) refuses), so that nothing alive loses its limits.
 */
export function sweepCgroups(facts: CgroupFacts): readonly string[] {
  const removed: string[] = [];
  for (const parent of new Set(Object.values(facts.parents))) {
    const family = path.join(parent, FAMILY);
    for (const name of list(family)) {
      const owner = groupOwner(name);
      if (owner === undefined || isAlive(owner)) continue;
      const dir = path.join(family, name);
      if (removeQuietly(dir)) removed.push(dir);
    }
  }
  return removed;
}

function list(dir: string): readonly string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}
