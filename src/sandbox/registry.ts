import { readFileSync, readdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { FinishSpec } from '../agent/contract.ts';
import type { BootMoment } from '../base/boot-clock.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { pathToBytes } from '../base/path-bytes.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { isAlive, processIdentity, type ProcessIdentity } from '../base/process-identity.ts';

/** A path that a run keeps absent with a placeholder, and the tree it lies in. */
export interface HeldPath {
  readonly root: string;
  readonly path: string;
}

/** As the agent's `finish` takes them. */
export function placeholdersOf(held: readonly HeldPath[]): NonNullable<FinishSpec['placeholders']> {
  return held.map(({ root, path: inside }) => ({ root, path: pathToBytes(inside) }));
}

/** What others may know of a sandbox that serves commands, as long as it lives. */
export interface ServedFacts {
  readonly name?: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tier: string;
  readonly workspace: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** Milliseconds since the epoch; absent: no end. */
  readonly endAt?: number;
  /** The same end on a clock that nobody can set. */
  readonly deadline?: BootMoment;
  /** The outermost process of the jail; when it dies, so does everything inside. */
  readonly jail: ProcessIdentity;
  /** Where its owner answers other processes of this user. */
  readonly socket?: string;
}

/** What a run leaves on the host if it is killed. */
export interface RunEntry {
  readonly id: string;
  readonly owner: ProcessIdentity;
  readonly held: readonly HeldPath[];
  readonly served?: ServedFacts;
}

/** Live runs of this user, one file each in the state directory, so that the next run sweeps what a dead one left. */
export class RunRegistry {
  readonly #dir: string;

  constructor(stateDir: string) {
    this.#dir = path.join(stateDir, 'runs');
  }

  /** Preconditions: written before anything is created that would have to be swept. Returns the entry's file. */
  add(id: string, held: readonly HeldPath[]): string {
    ensurePrivateDir(this.#dir);
    const owner = processIdentity(process.pid) ?? { pid: process.pid, startTicks: '0' };
    const file = this.#file(id);
    this.#write(file, { id, owner, held });
    return file;
  }

  /** Says more of a run of ours. A reader sees the old entry or the new one. */
  serve(id: string, served: ServedFacts): void {
    const entry = this.#read(`${id}.json`);
    if (entry === undefined) return;
    const draft = this.#draft(id);
    this.#write(draft, { ...entry, served });
    renameSync(draft, this.#file(id));
  }

  /** Runs of this user whose owner lives, oldest first. */
  living(): readonly RunEntry[] {
    const entries = this.#names().flatMap((name) => this.#read(name) ?? []);
    const alive = entries.filter((entry) => isAlive(entry.owner));
    return alive.toSorted((one, other) => (one.served?.startedAt ?? 0) - (other.served?.startedAt ?? 0));
  }

  #write(file: string, entry: RunEntry): void {
    try {
      writeFileSync(file, JSON.stringify(entry), { mode: 0o600 });
    } catch (error) {
      throw new GloveboxError('E_AUDIT_UNWRITABLE', {
        what: `cannot write to ${this.#dir}`,
        why: systemCode(error) ?? String(error),
        cause: error,
      });
    }
  }

  remove(id: string): void {
    // A draft stands where the owner died between writing and renaming it.
    for (const file of [this.#draft(id), this.#file(id)]) {
      try {
        unlinkSync(file);
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
      }
    }
  }

  /** Entries whose owner is dead: proven by the process table, never by age. `own` is known to live. */
  dead(own?: string): readonly RunEntry[] {
    return this.#names().flatMap((name) => {
      if (name === `${own}.json`) return [];
      const entry = this.#read(name);
      return entry === undefined || isAlive(entry.owner) ? [] : [entry];
    });
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#dir).filter((name) => name.endsWith('.json'));
    } catch {
      return [];
    }
  }

  /** A file that cannot be read is being written, or was cut by a crash: it names nothing that can be swept. */
  #read(name: string): RunEntry | undefined {
    try {
      const value: unknown = JSON.parse(readFileSync(path.join(this.#dir, name), 'utf8'));
      return isRunEntry(value) ? value : undefined;
    } catch {
      return undefined;
    }
  }

  #draft(id: string): string {
    return path.join(this.#dir, `${id}.draft`);
  }

  #file(id: string): string {
    return path.join(this.#dir, `${id}.json`);
  }
}

function isRunEntry(value: unknown): value is RunEntry {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'id' in value &&
    typeof value.id === 'string' &&
    'owner' in value &&
    'held' in value &&
    Array.isArray(value.held)
  );
}
