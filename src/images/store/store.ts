import { renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import type { BaseImage, ImageRecord } from '../contract.ts';
import { hexOf, type Digest } from '../digest.ts';
import { localName } from '../names.ts';
import { statOf } from '../tree.ts';
import { StoreLayout } from './layout.ts';
import { readLeases, writeLease, type Lease } from './leases.ts';
import { damaged, readRecord } from './record.ts';

/** What a prune took away. */
export interface PruneReport {
  readonly images: number;
  readonly blobs: number;
}

/** What a removal took away. */
export interface RemoveReport extends PruneReport {
  /** Files of the store that cannot be read: while there are any, no base system goes. */
  readonly damaged: readonly string[];
}

/** Base systems by name, each unpacked once; names, blobs and directories in one private directory. */
export class ImageStore {
  readonly layout: StoreLayout;

  /** @throws E_IO */
  constructor(dir: string) {
    this.layout = new StoreLayout(dir);
  }

  /** Undefined when there is none of that name. @throws E_IMAGE_NAME */
  find(name: string): ImageRecord | undefined {
    try {
      return readRecord(this.layout.ref(localName(name)));
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** @throws E_IMAGE_NAME, E_IMAGE_NOT_FOUND */
  get(name: string): ImageRecord {
    const found = this.find(name);
    if (found !== undefined && statOf(this.root(found.chain)) !== undefined) return found;
    const near = nearest(
      localName(name),
      this.list().map((record) => record.name),
    );
    throw new GloveboxError('E_IMAGE_NOT_FOUND', {
      what: `there is no image ${JSON.stringify(name)}`,
      ...(near === undefined ? {} : { next: `Did you mean ${near}?` }),
    });
  }

  /** As a sandbox uses it; a lease keeps it while it does. */
  base(name: string): BaseImage {
    const { chain, config, platform } = this.get(name);
    const label = `image ${localName(name)}`;
    return { root: this.root(chain), label, config, chain, ...(platform === undefined ? {} : { platform }) };
  }

  root(chain: Digest): string {
    return path.join(this.layout.rootfs(chain), 'root');
  }

  /** Without what is damaged. */
  list(): readonly ImageRecord[] {
    return this.#references().records;
  }

  /** Gives a name to what is in the store already, and takes it from what had it. */
  async save(record: ImageRecord): Promise<void> {
    await this.layout.locked(async () => {
      const file = this.layout.ref(record.name);
      const draft = `${file}.${process.pid}.draft`;
      writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
      renameSync(draft, file);
    });
  }

  /** Takes a name away and with it what nothing else uses. @throws E_IMAGE_NAME, E_IMAGE_NOT_FOUND */
  async remove(name: string): Promise<RemoveReport> {
    if (statOf(this.layout.ref(localName(name))) === undefined) this.get(name);
    await this.layout.locked(async () => rmSync(this.layout.ref(localName(name)), { force: true }));
    return this.#clear();
  }

  /**
   * Keeps blobs and directories, there already or not, until the answer is called or this process is dead: a prune leaves them alone.
   */
  async hold(id: string, lease: Lease): Promise<() => void> {
    await this.layout.locked(async () => writeLease(this.layout.lease(id), lease));
    return () => rmSync(this.layout.lease(id), { force: true });
  }

  /**
   * Removes blobs and directories that no name and no living process uses.
   *
   * @throws E_IO when a name cannot be read: nobody can say what it uses, so everything is kept
   */
  async prune(): Promise<PruneReport> {
    const { damaged: files, ...taken } = await this.#clear();
    if (files.length > 0) throw damaged(files);
    return taken;
  }

  #clear(): Promise<RemoveReport> {
    return this.layout.scratch(async (trash) =>
      this.layout.locked(async () => {
        this.#removeDrafts();
        const { records, damaged: files } = this.#references();
        const leases = readLeases(this.layout);
        if (files.length > 0 || leases.some((lease) => lease.all === true))
          return { images: 0, blobs: 0, damaged: files };
        const kept = keptNames([...records, ...leases]);
        const take = (part: 'rootfs' | 'blobs'): number => {
          const gone = this.layout.names(part).filter((name) => !kept.has(name));
          // Whole and at once: what is half removed never looks whole.
          for (const name of gone)
            renameSync(path.join(this.layout.dir, part, name), path.join(trash, `${part}-${name}`));
          return gone.length;
        };
        return { images: take('rootfs'), blobs: take('blobs'), damaged: [] };
      }),
    );
  }

  /** Of processes that died: whoever writes one holds the lock. */
  #removeDrafts(): void {
    for (const name of this.layout.names('refs').filter((one) => one.endsWith('.draft')))
      rmSync(path.join(this.layout.dir, 'refs', name), { force: true });
  }

  #references(): { readonly records: readonly ImageRecord[]; readonly damaged: readonly string[] } {
    const records: ImageRecord[] = [];
    const files: string[] = [];
    // Beside them may be drafts.
    for (const name of this.layout.names('refs').filter((one) => one.endsWith('.json'))) {
      const file = path.join(this.layout.dir, 'refs', name);
      try {
        records.push(readRecord(file));
      } catch (error) {
        // Removed since the directory was read.
        if (systemCode(error) !== 'ENOENT') files.push(file);
      }
    }
    return { records, damaged: files };
  }
}

function keptNames(users: readonly (ImageRecord | Lease)[]): ReadonlySet<string> {
  const digests = users.flatMap((one) => [...('chain' in one ? [one.chain] : one.chains), ...one.blobs]);
  return new Set(digests.map(hexOf));
}
