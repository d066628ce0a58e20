import { createReadStream, mkdirSync, realpathSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import {
  archiveKind,
  isLayoutDirectory,
  layoutBlob,
  layoutDirectory,
  layoutManifest,
  savedImage,
  spreadArchive,
  type Members,
} from './archive.ts';
import type { ImageRecord, OnProgress } from './contract.ts';
import { copyTree } from './copy-tree.ts';
import { sha256, verified } from './digest.ts';
import { foreign, installImage, kept } from './install.ts';
import { expectPlatform, hostPlatform, type Platform } from './platform.ts';
import { writeStream } from './store/blobs.ts';
import { ensureRootfs, keep, type UnpackedImage } from './store/rootfs.ts';
import type { ImageStore } from './store/store.ts';
import { statOf } from './tree.ts';
import { UnpackBudget } from './unpack/budget.ts';

export interface ImportInput {
  readonly store: ImageStore;
  /** A directory or file, absolute; or the bytes of an archive. */
  readonly from: string | Readable;
  readonly name: string;
  /** Which image of an archive that holds several. */
  readonly tag?: string;
  /** Default: this machine's. */
  readonly platform?: Platform;
  readonly progress: OnProgress;
}

/**
 * Puts a base system into the store: a root file system (directory, tar), an OCI image layout (directory, tar) or what `docker save`
 * wrote. Archives may be plain, gzip or zstd.
 *
 * @throws E_IMAGE_NOT_FOUND, E_IMAGE_INVALID, E_IMAGE_PLATFORM, E_IMAGE_TOO_LARGE, E_IMAGE_DIGEST, E_IMAGE_SPACE; nothing is left then
 */
export async function importImage(input: ImportInput): Promise<ImageRecord> {
  const { from, store } = input;
  const release = await store.hold(newId('import'), { chains: [], blobs: [], all: true });
  try {
    if (typeof from === 'string') return await importPath(input, from, from);
    return await store.layout.scratch(async (dir) => {
      const file = path.join(dir, 'stdin');
      const bytes = { what: 'the archive', most: CAPS.imageBytes };
      await writeStream(file, verified(from, bytes));
      return importPath(input, file, 'standard input');
    });
  } finally {
    release();
  }
}

async function importPath(input: ImportInput, named: string, source: string): Promise<ImageRecord> {
  const from = realOf(named);
  const stat = from === undefined ? undefined : statOf(from);
  if (from === undefined || stat === undefined)
    throw new GloveboxError('E_IMAGE_NOT_FOUND', {
      what: `there is no ${printablePath(named)}`,
      next: 'Name an archive or a directory.',
    });
  if (stat.isDirectory())
    return isLayoutDirectory(from)
      ? importLayout(input, layoutDirectory(from), source)
      : importDirectory(input, from, source);
  if (!stat.isFile())
    throw new GloveboxError('E_USAGE', { what: `${printablePath(named)} is not a file or directory` });
  const kind = await archiveKind(from);
  if (kind === 'rootfs') return importRootfs(input, from, source);
  return input.store.layout.scratch(async (dir) => {
    input.progress('reading the archive');
    const spread = path.join(dir, 'members');
    mkdirSync(spread, { mode: 0o700 });
    const members = await spreadArchive(from, spread);
    return kind === 'oci' ? importLayout(input, members, source) : importSaved(input, members, source);
  });
}

/** What the person named may be a link; nothing inside of it is followed. */
function realOf(named: string): string | undefined {
  try {
    return realpathSync.native(named);
  } catch {
    return undefined;
  }
}

function importLayout(input: ImportInput, members: Members, source: string): Promise<ImageRecord> {
  const platform = input.platform ?? hostPlatform();
  return installImage({
    ...input,
    platform,
    manifest: layoutManifest(members, input.tag, platform),
    from: { source, open: async (blob) => createReadStream(layoutBlob(members, blob.digest)) },
  });
}

async function importSaved(input: ImportInput, members: Members, source: string): Promise<ImageRecord> {
  const { config, layers } = savedImage(members, input.tag);
  expectPlatform(config.platform, input.platform ?? hostPlatform());
  input.progress(`unpacking ${layers.length} layers`);
  const unpacked = await ensureRootfs(
    input.store.layout,
    layers.map(({ file, diffId }, i) => ({
      what: `layer ${i + 1}`,
      diffId,
      open: () => createReadStream(file, { highWaterMark: 256 * 1024 }),
    })),
  );
  return save(input, unpacked, { source, config: kept(config), ...foreign(config) });
}

async function importRootfs(input: ImportInput, file: string, source: string): Promise<ImageRecord> {
  input.progress('unpacking');
  const unpacked = await ensureRootfs(input.store.layout, [
    { what: 'the archive', open: () => createReadStream(file, { highWaterMark: 256 * 1024 }) },
  ]);
  return save(input, unpacked, { source, config: NO_CONFIG });
}

async function importDirectory(input: ImportInput, from: string, source: string): Promise<ImageRecord> {
  const { layout } = input.store;
  if (isWithin(layout.dir, from))
    throw new GloveboxError('E_USAGE', { what: `${printablePath(from)} holds the image store itself` });
  input.progress('copying');
  const unpacked = await layout.scratch(async (dir) => {
    mkdirSync(path.join(dir, 'image'), { mode: 0o700 });
    const budget = new UnpackBudget();
    const tree = await copyTree(from, path.join(dir, 'image/root'), budget);
    // Of a kind of its own, so that it is never taken for a stack of layers.
    return keep(layout, dir, { chain: sha256(`tree ${tree}`), report: budget.report() });
  });
  return save(input, unpacked, { source, config: NO_CONFIG });
}

/** An archive of files says nothing about how to run them. */
export const NO_CONFIG: ImageRecord['config'] = { env: [], entrypoint: [], cmd: [] };

async function save(
  input: ImportInput,
  unpacked: UnpackedImage,
  facts: Pick<ImageRecord, 'source' | 'config' | 'platform'>,
): Promise<ImageRecord> {
  const record = { ...unpacked, ...facts, name: input.name, blobs: [], createdAt: Date.now() };
  await input.store.save(record);
  return record;
}
