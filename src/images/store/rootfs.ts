import { spawn } from 'node:child_process';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { plainBytes } from '../decompress.ts';
import { chainId, HashingStream, mismatch, type Digest } from '../digest.ts';
import { invalid } from '../invalid.ts';
import { UnpackBudget, type UnpackReport } from '../unpack/budget.ts';
import { applyLayer } from '../unpack/layer.ts';
import { statOf } from '../tree.ts';
import type { StoreLayout } from './layout.ts';
import { readReport } from './record.ts';

/** One layer, compressed or not. */
export interface LayerSource {
  readonly what: string;
  open(): Readable;
  /** Of the plain bytes; absent for an archive that says nothing about itself. */
  readonly diffId?: Digest;
}

export interface UnpackedImage {
  readonly chain: Digest;
  readonly report: UnpackReport;
}

/**
 * Unpacks a stack of layers into a directory of its own, once: the store knows it by its chain id. Each image is unpacked in full;
 * layers are not shared between directories.
 *
 * @throws E_IMAGE_INVALID, E_IMAGE_TOO_LARGE, E_IMAGE_DIGEST, E_IMAGE_SPACE; nothing is left then
 */
export async function ensureRootfs(
  layout: StoreLayout,
  layers: readonly LayerSource[],
): Promise<UnpackedImage> {
  const diffIds = layers.flatMap((layer) => layer.diffId ?? []);
  if (diffIds.length !== layers.length) return unpack(layout, layers);
  const chain = chainId(diffIds);
  const before = unpacked(layout, chain);
  if (before !== undefined) return before;
  return layout.lockedFor(chain, async () => unpacked(layout, chain) ?? unpack(layout, layers));
}

/** What is there already. */
export function unpacked(layout: StoreLayout, chain: Digest): UnpackedImage | undefined {
  if (statOf(layout.rootfs(chain)) === undefined) return undefined;
  const report = readReport(path.join(layout.rootfs(chain), 'report.json'));
  return { chain, report };
}

function unpack(layout: StoreLayout, layers: readonly LayerSource[]): Promise<UnpackedImage> {
  return layout.scratch(async (dir) => {
    const root = path.join(dir, 'image/root');
    mkdirSync(root, { recursive: true, mode: 0o700 });
    const budget = new UnpackBudget();
    const diffIds: Digest[] = [];
    for (const layer of layers) diffIds.push(await applyChecked(root, layer, budget));
    const report = budget.report();
    if (report.entries === 0) throw invalid('the image is empty');
    return keep(layout, dir, { chain: chainId(diffIds), report });
  });
}

async function applyChecked(root: string, layer: LayerSource, budget: UnpackBudget): Promise<Digest> {
  const hashing = new HashingStream();
  await applyLayer(root, hashing.over(plainBytes(layer.open())), budget);
  const diffId = hashing.digest();
  if (layer.diffId !== undefined && diffId !== layer.diffId)
    throw mismatch(layer.what, `${layer.diffId} was announced, it unpacks to ${diffId}`);
  return diffId;
}

/** Moves `DIR/image` to its place. Somebody else may have been quicker with the same. */
export async function keep(layout: StoreLayout, dir: string, image: UnpackedImage): Promise<UnpackedImage> {
  const made = path.join(dir, 'image');
  writeFileSync(path.join(made, 'report.json'), JSON.stringify(image.report), { mode: 0o600 });
  await syncDisk(made);
  return layout.locked(async () => {
    const before = unpacked(layout, image.chain);
    if (before !== undefined) return before;
    renameSync(made, layout.rootfs(image.chain));
    return image;
  });
}

/** A machine that loses power must not find a directory under its name with half of the files empty (syncfs(2)). */
function syncDisk(dir: string): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn('sync', ['--file-system', dir], { stdio: 'ignore' });
    child.on('error', () => resolve());
    child.on('close', () => resolve());
  });
}
