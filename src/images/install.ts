import { newId } from '../base/ids.ts';
import { CAPS } from '../base/caps.ts';
import { chunksOf } from './chunks.ts';
import type { ImageRecord, OnProgress } from './contract.ts';
import { chainId, type Digest } from './digest.ts';
import { parseDocument, readConfig, type Descriptor, type ImageConfig, type Manifest } from './documents.ts';
import { invalid } from './invalid.ts';
import { expectPlatform, fitsPlatform, hostPlatform, type Platform } from './platform.ts';
import { ensureBlob, readBlob } from './store/blobs.ts';
import { ensureRootfs } from './store/rootfs.ts';
import type { ImageStore } from './store/store.ts';

/** Where the blobs of an image are: a layout on disk or a registry. */
export interface BlobSource {
  /** For `image list`. */
  readonly source: string;
  open(blob: Descriptor): Promise<AsyncIterable<Buffer>>;
}

export interface InstallInput {
  readonly store: ImageStore;
  readonly manifest: Manifest;
  /** What the image must be made for. */
  readonly platform: Platform;
  readonly from: BlobSource;
  /** Local name. */
  readonly name: string;
  readonly progress: OnProgress;
}

/**
 * Fetches what the store does not have, checks it, unpacks it and gives it its name.
 *
 * @throws E_IMAGE_INVALID, E_IMAGE_PLATFORM, E_IMAGE_DIGEST, E_IMAGE_TOO_LARGE, E_IMAGE_SPACE; the name is as it was then
 */
export async function installImage(input: InstallInput): Promise<ImageRecord> {
  const { store, manifest, from, name, progress } = input;
  const blobs = [...new Set([manifest.config, ...manifest.layers].map((one) => one.digest))];
  const release = await store.hold(newId('pull'), { chains: [], blobs });
  try {
    const config = await fetchConfig(input);
    expectPlatform(config.platform, input.platform);
    const chain = chainId(config.diffIds);
    const releaseChain = await store.hold(newId('pull'), { chains: [chain], blobs: [] });
    try {
      for (const layer of manifest.layers) await fetchBlob(input, layer);
      progress(`unpacking ${manifest.layers.length} layers`);
      const unpacked = await ensureRootfs(store.layout, manifest.layers.map(layerSource(input, config)));
      const record = {
        ...unpacked,
        name,
        source: from.source,
        blobs,
        ...foreign(config),
        config: kept(config),
        createdAt: Date.now(),
      };
      await store.save(record);
      return record;
    } finally {
      releaseChain();
    }
  } finally {
    release();
  }
}

async function fetchConfig(input: InstallInput): Promise<ImageConfig> {
  const { manifest, store } = input;
  if (manifest.config.size > CAPS.imageDocumentBytes)
    throw invalid('the configuration of the image is too large');
  await fetchBlob(input, manifest.config);
  const chunks: Buffer[] = [];
  for await (const chunk of chunksOf(readBlob(store.layout, manifest.config.digest))) chunks.push(chunk);
  const config = readConfig(parseDocument(Buffer.concat(chunks), 'the configuration of the image'));
  if (config.diffIds.length !== manifest.layers.length)
    throw invalid(
      'the image contradicts itself',
      `${manifest.layers.length} layers, and ${config.diffIds.length} in its configuration`,
    );
  return config;
}

async function fetchBlob(input: InstallInput, blob: Descriptor): Promise<void> {
  const { store, from, progress } = input;
  const expected = {
    what: `blob ${blob.digest.slice(0, 19)}`,
    digest: blob.digest,
    size: blob.size,
    most: CAPS.imageBlobBytes,
  };
  await ensureBlob(store.layout, expected, async () => {
    progress(`fetching ${blob.digest.slice(0, 19)} (${blob.size} bytes)`);
    return from.open(blob);
  });
}

function layerSource(input: InstallInput, config: ImageConfig) {
  return (layer: Descriptor, index: number): Parameters<typeof ensureRootfs>[1][number] => {
    const diffId: Digest | undefined = config.diffIds[index];
    return {
      what: `layer ${layer.digest.slice(0, 19)}`,
      open: () => readBlob(input.store.layout, layer.digest),
      ...(diffId === undefined ? {} : { diffId }),
    };
  };
}

/** The platform of an image that this machine does not run by itself. */
export function foreign({ platform }: ImageConfig): Pick<ImageRecord, 'platform'> {
  return platform === undefined || fitsPlatform(platform, hostPlatform()) ? {} : { platform };
}

/** What a sandbox may want to know. */
export function kept(config: ImageConfig): ImageRecord['config'] {
  const { env, workingDir, user, entrypoint, cmd } = config;
  return {
    env,
    entrypoint,
    cmd,
    ...(workingDir === undefined ? {} : { workingDir }),
    ...(user === undefined ? {} : { user }),
  };
}
