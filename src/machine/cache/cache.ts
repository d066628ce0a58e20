import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync } from 'node:fs';
import path from 'node:path';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { withFileLock } from '../../base/file-lock.ts';
import { newId } from '../../base/ids.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../../base/paths.ts';
import { isAlive, processIdentity } from '../../base/process-identity.ts';
import { removeTree } from '../../base/remove-tree.ts';
import type { Artefact } from '../contract.ts';
import { leasedNames, newLease, type MachineLease } from './leases.ts';
import { dataFile, readEntry, readRecord, sealEntry } from './record.ts';

/** Everything in it can be made again. */
export function machineCacheDir(dirs: Pick<GloveboxDirs, 'cache'>): string {
  return path.join(dirs.cache, 'machine');
}

/** One file to have: by the key of what it is made from. */
export interface CacheRequest {
  /** Short; the beginning of its name. */
  readonly kind: 'kernel' | 'initrd' | 'root' | 'template';
  /** SHA-256 of everything it is made from, hex. */
  readonly key: string;
  /** Older entries of the same slot are removed once this one is made, unless somebody uses them. */
  readonly slot: string;
  /**
   * Its content is never read again to see whether it is what was written: where the file looks any different it is made anew. For large files that are
   * made quickly. Default false.
   */
  readonly unread?: boolean;
}

/** Kernels, initial RAM disks and roots of guests, each made once; one private directory. */
export class MachineCache {
  readonly #dir: string;

  /** @throws E_IO */
  constructor(dir: string) {
    this.#dir = ensurePrivateDir(dir);
    try {
      for (const part of ['entries', 'leases', 'locks', 'memo', 'tmp'])
        mkdirSync(path.join(dir, part), { recursive: true, mode: 0o700 });
    } catch (error) {
      throw cacheProblem(error, dir);
    }
  }

  /** Where small things are remembered that only save time. */
  get memoDir(): string {
    return path.join(this.#dir, 'memo');
  }

  /** Keeps nothing yet: it is handed to `ensure`. Released by whoever took it, or by the death of this process. */
  lease(): MachineLease {
    return newLease(path.join(this.#dir, 'leases'));
  }

  /**
   * The file of a request, made by `build` when it is not there or is not what was once written: cut short, changed, of another user. Of two
   * processes that want the same one makes it and the other waits.
   *
   * @throws E_IO when the cache cannot be written, E_IMAGE_SPACE when its disk is full, and whatever `build` throws
   */
  async ensure(
    request: CacheRequest,
    lease: MachineLease,
    build: (file: string) => Promise<void>,
  ): Promise<Artefact> {
    const name = `${request.kind}-${request.key}`;
    try {
      if (!lease.has(name)) await this.#locked(async () => lease.add(name));
      const entry = this.#entry(name);
      const before = await readEntry(entry);
      if (before !== undefined) return before;
      return await this.#lockedFor(
        name,
        async () => (await readEntry(entry)) ?? this.#make(name, request, build),
      );
    } catch (error) {
      throw cacheProblem(error, this.#dir);
    }
  }

  /** The file of a request that was made before. @throws E_IO when the cache cannot be written */
  async find({ kind, key }: CacheRequest, lease: MachineLease): Promise<Artefact | undefined> {
    const name = `${kind}-${key}`;
    if (!existsSync(this.#entry(name))) return undefined;
    try {
      if (!lease.has(name)) await this.#locked(async () => lease.add(name));
      return await readEntry(this.#entry(name));
    } catch (error) {
      throw cacheProblem(error, this.#dir);
    }
  }

  /** Removes what no living process uses, and what dead ones left half made. Resolves with the number of entries that went. */
  async prune(): Promise<number> {
    try {
      await this.#sweep();
      return await this.#removeUnused(() => true);
    } catch (error) {
      throw cacheProblem(error, this.#dir);
    }
  }

  async #make(
    name: string,
    { slot, unread = false }: CacheRequest,
    build: (file: string) => Promise<void>,
  ): Promise<Artefact> {
    await this.#sweep();
    const aside = await this.#scratch(async (dir) => {
      const made = path.join(dir, 'made');
      mkdirSync(made, { mode: 0o700 });
      await build(dataFile(made));
      chmodSync(dataFile(made), 0o400);
      await sealEntry(made, { slot, unread });
      // What stands there cannot be used: `ensure` looked.
      renameIfThere(this.#entry(name), path.join(dir, 'before'));
      renameSync(made, this.#entry(name));
      return readEntry(this.#entry(name));
    });
    await this.#removeUnused((other, record) => other !== name && record?.slot === slot);
    if (aside !== undefined) return aside;
    throw new GloveboxError('E_IO', { what: `what was written to ${this.#dir} cannot be read again` });
  }

  async #removeUnused(
    takes: (name: string, record: ReturnType<typeof readRecord>) => boolean,
  ): Promise<number> {
    return this.#scratch((trash) =>
      this.#locked(async () => {
        const kept = leasedNames(path.join(this.#dir, 'leases'));
        const gone = readdirSync(path.join(this.#dir, 'entries'))
          .filter((name) => !kept.has(name))
          .filter((name) => takes(name, readRecord(this.#entry(name))));
        // Whole and at once: what is half removed never looks whole.
        for (const name of gone) renameSync(this.#entry(name), path.join(trash, name));
        return gone.length;
      }),
    );
  }

  /** A directory of its own for `work`, gone afterwards whatever happened; its name says whose it is. */
  async #scratch<T>(work: (dir: string) => Promise<T>): Promise<T> {
    const self = processIdentity(process.pid);
    const dir = path.join(this.#dir, 'tmp', `${process.pid}-${self?.startTicks ?? '0'}-${newId('tmp')}`);
    mkdirSync(dir, { mode: 0o700 });
    try {
      return await work(dir);
    } finally {
      await removeTree(dir);
    }
  }

  async #sweep(): Promise<void> {
    for (const name of readdirSync(path.join(this.#dir, 'tmp'))) {
      const [pid, startTicks] = name.split('-');
      if (pid === undefined || startTicks === undefined || isAlive({ pid: Number(pid), startTicks }))
        continue;
      await removeTree(path.join(this.#dir, 'tmp', name));
    }
  }

  #entry(name: string): string {
    return path.join(this.#dir, 'entries', name);
  }

  #locked<T>(work: () => Promise<T>): Promise<T> {
    const options = { waitMs: 30_000, busy: 'changing the cache of guest systems' };
    return withFileLock(path.join(this.#dir, 'locks/cache'), options, work);
  }

  #lockedFor<T>(name: string, work: () => Promise<T>): Promise<T> {
    const options = { waitMs: CAPS.imageLockMs, busy: 'still making the same part of the guest system' };
    return withFileLock(path.join(this.#dir, 'locks', name), options, work);
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/** A system error as one of ours; others are left as they are. */
function cacheProblem(error: unknown, dir: string): unknown {
  const code = systemCode(error);
  if (error instanceof GloveboxError || code === undefined || !/^E[A-Z0-9]+$/.test(code)) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new GloveboxError('E_IMAGE_SPACE', {
      what: `the disk that holds ${dir} is full`,
      why: code,
      cause: error,
    });
  return new GloveboxError('E_IO', {
    what: `cannot use the cache of guest systems in ${dir}`,
    why: code,
    next: 'Make it writable for you, or name another directory with XDG_CACHE_HOME.',
    cause: error,
  });
}
