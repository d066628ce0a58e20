import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { systemCode } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { isAlive, processIdentity } from '../../base/process-identity.ts';

/** Keeps entries of the cache while whoever asked for them lives. */
export interface MachineLease {
  has(name: string): boolean;
  /** Preconditions: the cache is locked, and the entry is looked at afterwards, not before. */
  add(name: string): void;
  release(): void;
}

/** A new lease of this process, which keeps nothing yet. */
export function newLease(dir: string): MachineLease {
  const self = processIdentity(process.pid);
  const file = path.join(dir, `${process.pid}-${self?.startTicks ?? '0'}-${newId('lse')}`);
  const names = new Set<string>();
  return {
    has: (name) => names.has(name),
    add: (name) => {
      writeFileSync(file, [...names, name].join('\n'), { mode: 0o600 });
      names.add(name);
    },
    release: () => rmSync(file, { force: true }),
  };
}

/** What living processes keep; leases of dead ones are removed. Preconditions: the cache is locked. */
export function leasedNames(dir: string): ReadonlySet<string> {
  const names = readdirSync(dir).flatMap((lease) => {
    const [pid, startTicks] = lease.split('-');
    const file = path.join(dir, lease);
    if (pid !== undefined && startTicks !== undefined && isAlive({ pid: Number(pid), startTicks }))
      return linesOf(file);
    rmSync(file, { force: true });
    return [];
  });
  return new Set(names);
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch (error) {
    // Released since the directory was read.
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
