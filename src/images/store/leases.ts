import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isAlive, processIdentity, type ProcessIdentity } from '../../base/process-identity.ts';
import { isDigest, type Digest } from '../digest.ts';
import type { StoreLayout } from './layout.ts';

/** What a running sandbox, pull or build needs. */
export interface Lease {
  readonly chains: readonly Digest[];
  readonly blobs: readonly Digest[];
  /** An import or build, which learns at its end what it made: nothing at all is removed meanwhile. */
  readonly all?: true;
}

interface LeaseFile extends Lease {
  readonly owner: ProcessIdentity;
}

/** Preconditions: the store is locked. */
export function writeLease(file: string, lease: Lease): void {
  const owner = processIdentity(process.pid) ?? { pid: process.pid, startTicks: '0' };
  writeFileSync(file, JSON.stringify({ ...lease, owner } satisfies LeaseFile), { mode: 0o600 });
}

/** Leases of living processes; those of dead ones are removed. Preconditions: the store is locked. */
export function readLeases(layout: StoreLayout): readonly Lease[] {
  return layout.names('leases').flatMap((name) => {
    const file = layout.lease(name.replace(/\.json$/, ''));
    const lease = parseLease(file);
    if (lease !== undefined && isAlive(lease.owner)) return [lease];
    rmSync(file, { force: true });
    return [];
  });
}

/** Written under the lock, so one that cannot be read was cut by a crash, and its owner is gone. */
function parseLease(file: string): LeaseFile | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return isLease(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isLease(value: unknown): value is LeaseFile {
  if (typeof value !== 'object' || value === null) return false;
  const isList = (list: unknown): boolean => Array.isArray(list) && list.every(isDigest);
  return (
    'owner' in value &&
    typeof value.owner === 'object' &&
    'chains' in value &&
    isList(value.chains) &&
    'blobs' in value &&
    isList(value.blobs)
  );
}
