import { createReadStream, readFileSync } from 'node:fs';
import path from 'node:path';
import { CAPS } from '../base/caps.ts';
import { plainBytes } from './decompress.ts';
import { isDigest, type Digest } from './digest.ts';
import {
  chooseManifest,
  parseDocument,
  readConfig,
  readManifestDocument,
  type Descriptor,
  type ImageConfig,
  type Manifest,
} from './documents.ts';
import { invalid, shown, tooLarge } from './invalid.ts';
import { platformText, wrongPlatform, type Platform } from './platform.ts';
import { fileProblem } from './store/layout.ts';
import { writeStream } from './store/blobs.ts';
import { readTar, type TarEntry } from './tar/reader.ts';
import { statOf } from './tree.ts';
import { UnpackBudget } from './unpack/budget.ts';

/** What a tar file holds. */
export type ArchiveKind = 'oci' | 'docker' | 'rootfs';

/** Members of an OCI layout and of `docker save`, old and new; anything else is a root file system. */
const IMAGE_MEMBER =
  /^(?:\.\/)?(?:$|oci-layout$|index\.json$|manifest\.json$|repositories$|blobs(?:\/.*)?$|[0-9a-f]{64}(?:\.json|\.tar|\/.*)?$)/;

/** The members of an image archive on disk, by their name in it. */
export interface Members {
  /** Path of a file on disk; undefined when there is none. */
  file(name: string): string | undefined;
}

export function archiveBytes(file: string): AsyncGenerator<Buffer, void, void> {
  return plainBytes(createReadStream(file, { highWaterMark: 256 * 1024 }));
}

/** The entries of an archive of members, as many and as long as those of an image may be: their names are kept. */
async function* membersOf(file: string): AsyncGenerator<TarEntry, void, void> {
  const budget = new UnpackBudget();
  for await (const entry of readTar(archiveBytes(file))) {
    budget.entry(entry.name + entry.link);
    budget.bytes(entry.size);
    yield entry;
  }
}

/** Looks at names until it is certain; of a root file system that is the first. @throws E_IMAGE_INVALID, E_IMAGE_TOO_LARGE */
export async function archiveKind(file: string): Promise<ArchiveKind> {
  const names = new Set<string>();
  for await (const entry of membersOf(file)) {
    if (!IMAGE_MEMBER.test(entry.name)) return 'rootfs';
    names.add(entry.name.replace(/^\.\//, ''));
  }
  if (names.has('oci-layout') && names.has('index.json')) return 'oci';
  return names.has('manifest.json') ? 'docker' : 'rootfs';
}

/** Spreads an image archive over a directory, its members under numbers: no name of it becomes a path. */
export async function spreadArchive(file: string, dir: string): Promise<Members> {
  const files = new Map<string, string>();
  const links = new Map<string, string>();
  for await (const entry of membersOf(file)) {
    const name = path.posix.normalize(entry.name);
    if (entry.type === 'symlink') links.set(name, path.posix.join(path.posix.dirname(name), entry.link));
    if (entry.type === 'hardlink') links.set(name, path.posix.normalize(entry.link));
    if (entry.type !== 'file') continue;
    const target = path.join(dir, String(files.size));
    await writeStream(target, entry.body);
    files.set(name, target);
  }
  // Old `docker save` links a layer that two images share.
  return { file: (name) => files.get(name) ?? files.get(links.get(name) ?? '') };
}

/** The members of an OCI layout that is a directory. Its names are fixed and its blobs are named by digest. */
export function layoutDirectory(dir: string): Members {
  return {
    file: (name) => {
      const target = path.join(dir, name);
      // What is no plain file, a symlink among it, is not there.
      return statOf(target)?.isFile() === true ? target : undefined;
    },
  };
}

export function isLayoutDirectory(dir: string): boolean {
  return (
    statOf(path.join(dir, 'oci-layout')) !== undefined && statOf(path.join(dir, 'index.json')) !== undefined
  );
}

/** The blob of an OCI layout (OCI image specification, "Image Layout"). @throws E_IMAGE_INVALID */
export function layoutBlob(members: Members, digest: Digest): string {
  const file = members.file(`blobs/${digest.replace(':', '/')}`);
  if (file === undefined) throw invalid('the image layout is incomplete', `${digest} is missing`);
  return file;
}

/**
 * The manifest for a platform in an OCI layout. Of several images `tag` names one.
 *
 * @throws E_IMAGE_INVALID, E_IMAGE_PLATFORM
 */
export function layoutManifest(members: Members, tag: string | undefined, wanted: Platform): Manifest {
  let entries = readIndex(document(members, 'index.json'));
  if (tag !== undefined)
    entries = entries.filter((entry) => entry.name === tag || entry.name?.endsWith(`:${tag}`));
  // An index in an index is common, deeper nothing sensible is.
  for (let depth = 0; depth < 3; depth++) {
    const chosen = entries.length === 1 ? entries[0] : chooseManifest(entries, wanted);
    if (chosen === undefined) throw noneFits(entries, wanted);
    const found = readManifestDocument(
      parseDocument(readSmall(layoutBlob(members, chosen.digest)), 'the manifest of the image'),
    );
    if ('manifest' in found) return found.manifest;
    entries = found.index;
  }
  throw invalid('the image layout is nested too deep');
}

function readIndex(value: Parameters<typeof readManifestDocument>[0]): readonly Descriptor[] {
  const found = readManifestDocument(value);
  if ('index' in found) return found.index;
  throw invalid('the image layout has no index');
}

function noneFits(entries: readonly Descriptor[], wanted: Platform): Error {
  // Attestations stand beside images as `unknown/unknown`.
  const platforms = entries.flatMap(({ platform }) => platform ?? []).filter(({ os }) => os !== 'unknown');
  if (platforms.length > 0) return wrongPlatform('the image layout', platforms, wanted);
  const names = entries.flatMap((entry) => entry.name ?? []).slice(0, 10);
  return invalid(
    entries.length === 0
      ? 'the image layout names no image'
      : 'the image layout holds several images, and none is clearly meant',
    `wanted for ${platformText(wanted)}${names.length === 0 ? '' : `; it has ${names.map(shown).join(', ')}`}`,
  );
}

function document(members: Members, name: string): ReturnType<typeof parseDocument> {
  const file = members.file(name);
  if (file === undefined) throw invalid(`the image has no ${name}`);
  return parseDocument(readSmall(file), name);
}

function readSmall(file: string): Buffer {
  const size = statOf(file)?.size ?? 0;
  if (size > CAPS.imageDocumentBytes) throw tooLarge('a document of the image is too large', `${size} bytes`);
  try {
    return readFileSync(file);
  } catch (error) {
    throw fileProblem(error, file);
  }
}

/** One image of a `docker save` archive: its configuration, and its layers as files. */
export interface SavedImage {
  readonly config: ImageConfig;
  readonly tags: readonly string[];
  readonly layers: readonly { readonly file: string; readonly diffId: Digest }[];
}

/** Reads `manifest.json` of `docker save` (Docker image specification 1.2). @throws E_IMAGE_INVALID */
export function savedImage(members: Members, tag: string | undefined): SavedImage {
  const images = savedList(members).filter((image) => tag === undefined || image.tags.includes(tag));
  const [image] = images;
  if (image === undefined || images.length > 1)
    throw invalid(
      image === undefined ? 'the archive has no image of that name' : 'the archive holds several images',
      'save one image at a time',
    );
  const config = readConfig(document(members, image.config));
  const layers = image.layers.map((name, i) => {
    const [file, diffId] = [members.file(name), config.diffIds[i]];
    if (file === undefined || !isDigest(diffId))
      throw invalid('the archive is incomplete', `${shown(name)} is missing`);
    return { file, diffId };
  });
  if (layers.length !== config.diffIds.length)
    throw invalid('the image contradicts itself', 'layers are missing');
  if (layers.length > CAPS.imageLayers)
    throw tooLarge('the image has too many layers', String(layers.length));
  return { config, tags: image.tags, layers };
}

interface SavedEntry {
  readonly config: string;
  readonly tags: readonly string[];
  readonly layers: readonly string[];
}

function savedList(members: Members): readonly SavedEntry[] {
  const file = members.file('manifest.json');
  if (file === undefined) throw invalid('the archive has no manifest.json');
  // It is a list, and a document of ours is an object.
  const text = `{"images":${readSmall(file).toString('utf8')}}`;
  const { images } = parseDocument(Buffer.from(text), 'manifest.json');
  if (!Array.isArray(images)) throw invalid('manifest.json is not a list');
  return images.map(savedEntry);
}

function savedEntry(value: unknown): SavedEntry {
  if (typeof value !== 'object' || value === null || !('Config' in value) || !('Layers' in value))
    throw invalid('manifest.json names no configuration or no layers');
  const texts = (list: unknown): readonly string[] =>
    Array.isArray(list) ? list.filter((item): item is string => typeof item === 'string') : [];
  const layers = texts(value.Layers).map((name) => path.posix.normalize(name));
  if (typeof value.Config !== 'string' || layers.length === 0)
    throw invalid('manifest.json names no configuration or no layers');
  return {
    config: path.posix.normalize(value.Config),
    layers,
    tags: 'RepoTags' in value ? texts(value.RepoTags) : [],
  };
}
