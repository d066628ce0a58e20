import type { ImageRecord, OnProgress } from '../contract.ts';
import { chooseManifest, parseDocument, readManifestDocument, type Manifest } from '../documents.ts';
import { GloveboxError } from '../../base/errors.ts';
import { installImage } from '../install.ts';
import { invalid } from '../invalid.ts';
import { nameOfReference, parseReference, referenceText, type RegistryReference } from '../names.ts';
import { hostPlatform, wrongPlatform, type Platform } from '../platform.ts';
import type { ImageStore } from '../store/store.ts';
import { RegistryClient, type FetchedDocument, type RegistryOptions } from './client.ts';

export interface PullInput {
  readonly store: ImageStore;
  /** As typed: `python:3.12`, `host:5000/team/image@sha256:…`. */
  readonly reference: string;
  /** Local name; default the reference. */
  readonly name?: string;
  /** Default: this machine's. */
  readonly platform?: Platform;
  readonly registry: RegistryOptions;
  readonly progress: OnProgress;
}

/**
 * Fetches an image from a registry into the store.
 *
 * @throws E_IMAGE_NAME, E_IMAGE_NOT_FOUND, E_IMAGE_PLATFORM, E_IMAGE_UNAUTHORIZED, E_IMAGE_REGISTRY, and what `installImage` throws
 */
export async function pullImage(input: PullInput): Promise<ImageRecord> {
  const reference = parseReference(input.reference);
  const name = input.name ?? nameOfReference(input.reference);
  const client = new RegistryClient(reference, input.registry);
  const platform = input.platform ?? hostPlatform();
  const { top, manifest } = await findManifest(client, reference, platform);
  return installImage({
    store: input.store,
    manifest,
    platform,
    name,
    progress: input.progress,
    from: {
      source: referenceText({ ...reference, digest: top.digest }),
      open: (blob) => client.blob(blob.digest),
    },
  });
}

async function findManifest(
  client: RegistryClient,
  reference: RegistryReference,
  platform: Platform,
): Promise<{ readonly top: FetchedDocument; readonly manifest: Manifest }> {
  const { digest, tag } = reference;
  const top = await client.manifest(digest ?? tag ?? 'latest');
  if (digest !== undefined && top.digest !== digest)
    throw new GloveboxError('E_IMAGE_DIGEST', {
      what: `${reference.host} sends another manifest than ${digest}`,
    });
  const found = readManifestDocument(parseDocument(top.bytes, 'the manifest of the image'));
  if ('manifest' in found) return { top, manifest: found.manifest };
  const chosen = chooseManifest(found.index, platform);
  if (chosen === undefined) {
    const has = found.index.flatMap((one) => one.platform ?? []).filter(({ os }) => os !== 'unknown');
    throw wrongPlatform(referenceText(reference), has, platform);
  }
  const inner = await client.manifest(chosen.digest, chosen);
  const second = readManifestDocument(parseDocument(inner.bytes, 'the manifest of the image'));
  if ('index' in second) throw invalid('the index of the image leads to another index');
  return { top, manifest: second.manifest };
}
