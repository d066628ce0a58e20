import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import type { BaseImage, ImageRecord } from '../contract.ts';
import { hexOf, type Digest } from '../digest.ts';
import { localName } from '../names.ts';
import { statOf } from '../tree.ts';
import { StoreLayout } from './layout.ts';
import { readLeases, writeLease, type Lease } from './leases.ts';
import { parseRecord } from './record.ts';

/** What a prune took away. */
export interface PruneReport {
  readonly images: number;
  readonly blobs: number;
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
      return parseRecord(readFileSync(this.layout.ref(localName(name)), 'utf8'));
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
    const { chain, config } = this.get(name);
    return { root: this.root(chain), label: `image ${localName(name)}`, config, chain };
  }

  root(chain: Digest): string {
    return path.join(this.layout.rootfs(chain), 'root');
  }

  /** Without what is damaged: nobody can say what that used. */
  list(): readonly ImageRecord[] {
    return this.layout.names('refs').flatMap((file) => {
      try {
        return file.endsWith('.json')
          ? (this.find(decodeURIComponent(file.slice(0, -'.json'.length))) ?? [])
          : [];
      } catch (error) {
        if (error instanceof GloveboxError) return [];
        throw error;
      }
    });
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
  async remove(name: string): Promise<PruneReport> {
    if (statOf(this.layout.ref(localName(name))) === undefined) this.get(name);
    await this.layout.locked(async () => rmSync(this.layout.ref(localName(name)), { force: true }));
    return this.prune();
  }

  /**
   * Keeps blobs and directories, there already or not, until the answer is called or this process is dead: a prune leaves them alone.
   */
  async hold(id: string, lease: Lease): Promise<() => void> {
    await this.layout.locked(async () => writeLease(this.layout.lease(id), lease));
    return () => rmSync(this.layout.lease(id), { force: true });
  }

  /** Removes blobs and directories that no name and no living process uses. */
  prune(): Promise<PruneReport> {
    return this.layout.scratch(async (trash) =>
      this.layout.locked(async () => {
        const leases = readLeases(this.layout);
        if (leases.some((lease) => lease.all === true)) return { images: 0, blobs: 0 };
        const kept = keptNames([...this.list(), ...leases]);
        const take = (part: 'rootfs' | 'blobs'): number => {
          const gone = this.layout.names(part).filter((name) => !kept.has(name));
          // Whole and at once: what is half removed never looks whole.
          for (const name of gone)
            renameSync(path.join(this.layout.dir, part, name), path.join(trash, `${part}-${name}`));
          return gone.length;
        };
        return { images: take('rootfs'), blobs: take('blobs') };
      }),
    );
  }
}

function keptNames(users: readonly (ImageRecord | Lease)[]): ReadonlySet<string> {
  const digests = users.flatMap((one) => [...('chain' in one ? [one.chain] : one.chains), ...one.blobs]);
  return new Set(digests.map(hexOf));
}
