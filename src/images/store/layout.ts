import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { withFileLock } from '../../base/file-lock.ts';
import { newId } from '../../base/ids.ts';
import { CAPS } from '../../base/caps.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../../base/paths.ts';
import { isAlive, processIdentity } from '../../base/process-identity.ts';
import { hexOf, type Digest } from '../digest.ts';

/** Everything in the store can be fetched, imported or built again, so it is a cache (XDG Base Directory Specification). */
export function imageStoreDir(dirs: Pick<GloveboxDirs, 'cache'>): string {
  return path.join(dirs.cache, 'images');
}

/** The directories of the store, all 0700, and the locks over them. */
export class StoreLayout {
  readonly dir: string;

  /** Makes what is missing, and sweeps what processes left that died. @throws E_IO */
  constructor(dir: string) {
    this.dir = dir;
    ensurePrivateDir(dir);
    for (const part of ['blobs', 'rootfs', 'refs', 'leases', 'tmp', 'locks'])
      mkdirSync(path.join(dir, part), { recursive: true, mode: 0o700 });
    this.#sweep();
  }

  blob(digest: Digest): string {
    return path.join(this.dir, 'blobs', hexOf(digest));
  }

  /** Holds `root/` and `report.json`. */
  rootfs(chain: Digest): string {
    return path.join(this.dir, 'rootfs', hexOf(chain));
  }

  ref(name: string): string {
    return path.join(this.dir, 'refs', `${encodeURIComponent(name)}.json`);
  }

  lease(id: string): string {
    return path.join(this.dir, 'leases', `${id}.json`);
  }

  names(part: 'blobs' | 'rootfs' | 'refs' | 'leases'): readonly string[] {
    return readdirSync(path.join(this.dir, part)).sort();
  }

  /** Short work on references, leases and what is kept: one process at a time. */
  locked<T>(work: () => Promise<T>): Promise<T> {
    const options = { waitMs: 30_000, busy: 'changing the image store' };
    return withFileLock(path.join(this.dir, 'locks/store'), options, work);
  }

  /** Long work on one blob or one stack of layers: whoever comes second waits and finds it done. */
  lockedFor<T>(digest: Digest, work: () => Promise<T>): Promise<T> {
    const options = { waitMs: CAPS.imageLockMs, busy: 'still fetching or unpacking the same image' };
    return withFileLock(path.join(this.dir, 'locks', hexOf(digest)), options, work);
  }

  /**
   * Runs `work` with a directory of its own, which is gone afterwards whatever happened. What is worth keeping is renamed out of it.
   *
   * @throws E_IMAGE_SPACE when the disk is full, E_IO
   */
  async scratch<T>(work: (dir: string) => Promise<T>): Promise<T> {
    const self = processIdentity(process.pid);
    const name = `${process.pid}-${self?.startTicks ?? '0'}-${newId('tmp')}`;
    const dir = path.join(this.dir, 'tmp', name);
    try {
      mkdirSync(dir, { mode: 0o700 });
      return await work(dir);
    } catch (error) {
      throw fileProblem(error, this.dir);
    } finally {
      removeTree(dir);
    }
  }

  #sweep(): void {
    for (const name of readdirSync(path.join(this.dir, 'tmp'))) {
      const [pid, startTicks] = name.split('-');
      if (pid === undefined || startTicks === undefined) continue;
      if (isAlive({ pid: Number(pid), startTicks })) continue;
      try {
        removeTree(path.join(this.dir, 'tmp', name));
      } catch {
        // Another process sweeps it at this moment.
      }
    }
  }
}

/**
 * A step of a recipe may leave directories without rights for their owner, and others deeper than a path can say. These programs go
 * from directory to directory (fts(3)); neither follows a symlink there.
 */
function removeTree(dir: string): void {
  try {
    rmSync(dir, { recursive: true, force: true });
  } catch (error) {
    if (!['EACCES', 'ENAMETOOLONG'].includes(systemCode(error) ?? '')) throw error;
    spawnSync('chmod', ['-R', 'u+rwX', '--', dir], { stdio: 'ignore' });
    spawnSync('rm', ['-rf', '--', dir], { stdio: 'ignore' });
    if (existsSync(dir)) throw error;
  }
}

const FULL = new Set(['ENOSPC', 'EDQUOT']);

/** A system error as one of ours; other errors are left as they are. */
export function fileProblem(error: unknown, where: string): unknown {
  const code = systemCode(error);
  if (code === undefined || error instanceof GloveboxError || !(error instanceof Error)) return error;
  if (!/^E[A-Z0-9]+$/.test(code)) return error;
  const facts = { what: `cannot write to ${where}`, why: code, cause: error };
  if (FULL.has(code))
    return new GloveboxError('E_IMAGE_SPACE', { ...facts, what: `the disk that holds ${where} is full` });
  return new GloveboxError('E_IO', {
    ...facts,
    what: `cannot work on the image: ${error.message.slice(0, 300)}`,
  });
}
