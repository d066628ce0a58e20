import { CAPS } from '../base/caps.ts';
import { digestOf, type Digest } from './digest.ts';
import { invalid, tooLarge } from './invalid.ts';
import { fitsPlatform, isPlain, type Platform } from './platform.ts';

/** A blob and what it must be (OCI image specification, "Content Descriptors"). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly platform?: Platform;
  readonly name?: string;
}

export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** What of an image's configuration is looked at. */
export interface ImageConfig {
  /** Undefined where it names none. */
  readonly platform?: Platform;
  readonly diffIds: readonly Digest[];
  /** `NAME=value`, as written. */
  readonly env: readonly string[];
  readonly workingDir?: string;
  /** Recorded for people; the sandbox's user is its own. */
  readonly user?: string;
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
}

const INDEXES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const MANIFESTS = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
/** Plain, gzip and zstd; what they really are the first bytes say. `foreign` layers are somebody else's to fetch: refused. */
const LAYERS =
  /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(?:\.gzip|\.zstd)?)$/;

/** What is asked for, in this order. */
export const ACCEPTED = [...INDEXES, ...MANIFESTS];

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A JSON object of at most `CAPS.imageDocumentBytes`. @throws E_IMAGE_INVALID, E_IMAGE_TOO_LARGE */
export function parseDocument(bytes: Uint8Array, what: string): Json {
  if (bytes.length > CAPS.imageDocumentBytes)
    throw tooLarge(`${what} is too large`, `${bytes.length} bytes, at most ${CAPS.imageDocumentBytes}`);
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (isObject(value)) return value;
  } catch {
    // The same answer: what the parser says about somebody else's bytes helps nobody.
  }
  throw invalid(`${what} is not a JSON object`);
}

/** An index (or manifest list) or a manifest, by what is in it. @throws E_IMAGE_INVALID */
export function readManifestDocument(
  document: Json,
): { readonly index: readonly Descriptor[] } | { readonly manifest: Manifest } {
  const { mediaType } = document;
  if (document['schemaVersion'] !== 2)
    throw invalid('the manifest is of a version that nobody makes any more', 'schemaVersion must be 2');
  // Both at once is a known trick: two readers see two images (OCI image specification 1.0.2, "mediaType").
  if ('manifests' in document && ('layers' in document || 'config' in document))
    throw invalid('the manifest is ambiguous', 'it has manifests and layers');
  if ('manifests' in document) {
    if (typeof mediaType === 'string' && !INDEXES.includes(mediaType)) throw contradicts(mediaType);
    return {
      index: list(document['manifests'], 'manifests').map((one) => descriptor(one, 'an index entry')),
    };
  }
  if (typeof mediaType === 'string' && !MANIFESTS.includes(mediaType)) throw contradicts(mediaType);
  return { manifest: readManifest(document) };
}

function contradicts(mediaType: string): Error {
  return invalid(
    'the manifest is of an unknown kind',
    `${mediaType.slice(0, 100)} does not fit what is in it`,
  );
}

function readManifest(document: Json): Manifest {
  const layers = list(document['layers'], 'layers').map((one) => descriptor(one, 'a layer'));
  if (layers.length > CAPS.imageLayers)
    throw tooLarge('the image has too many layers', `${layers.length}, at most ${CAPS.imageLayers}`);
  const odd = layers.find((layer) => !LAYERS.test(layer.mediaType));
  if (odd !== undefined)
    throw invalid('the image has a layer of an unknown kind', odd.mediaType.slice(0, 100));
  for (const layer of layers)
    if (layer.size > CAPS.imageBlobBytes)
      throw tooLarge('a layer is too large', `${layer.size} bytes, at most ${CAPS.imageBlobBytes}`);
  return { config: descriptor(document['config'], 'the configuration'), layers };
}

function descriptor(value: unknown, what: string): Descriptor {
  if (!isObject(value)) throw invalid(`${what} of the image has no descriptor`);
  const { mediaType, size, platform, annotations } = value;
  if (typeof mediaType !== 'string') throw invalid(`${what} of the image has no media type`);
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw invalid(`${what} of the image has no usable size`);
  const name = isObject(annotations) ? annotations['org.opencontainers.image.ref.name'] : undefined;
  return {
    mediaType,
    size,
    digest: digestOf(value['digest'], what),
    ...(isObject(platform) ? { platform: platformOf(platform) } : {}),
    ...(typeof name === 'string' ? { name } : {}),
  };
}

function platformOf(value: Json): Platform {
  const { os, architecture, variant } = value;
  return {
    os: typeof os === 'string' ? os : '',
    architecture: typeof architecture === 'string' ? architecture : '',
    ...(typeof variant === 'string' && variant !== '' ? { variant } : {}),
  };
}

/** @throws E_IMAGE_INVALID */
export function readConfig(document: Json): ImageConfig {
  const rootfs = document['rootfs'];
  if (!isObject(rootfs) || rootfs['type'] !== 'layers')
    throw invalid('the configuration of the image does not say what its layers are');
  const config = isObject(document['config']) ? document['config'] : {};
  const { WorkingDir: workingDir, User: user } = config;
  const platform = platformOf(document);
  return {
    ...(platform.os === '' && platform.architecture === '' ? {} : { platform }),
    diffIds: list(rootfs['diff_ids'], 'diff_ids').map((one) => digestOf(one, 'a layer of the configuration')),
    env: texts(config['Env']),
    ...(typeof workingDir === 'string' && workingDir !== '' ? { workingDir } : {}),
    ...(typeof user === 'string' && user !== '' ? { user } : {}),
    entrypoint: texts(config['Entrypoint']),
    cmd: texts(config['Cmd']),
  };
}

function list(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw invalid(`the image has no list of ${what}`);
}

/** The texts of a list that may be missing. */
function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

/** The entry for a platform; one without a platform counts when it is alone. Undefined when none fits. */
export function chooseManifest(index: readonly Descriptor[], wanted: Platform): Descriptor | undefined {
  const images = index.filter((one) => MANIFESTS.includes(one.mediaType) || INDEXES.includes(one.mediaType));
  const fits = images.filter(({ platform }) => platform !== undefined && fitsPlatform(platform, wanted));
  // The plain one first: a variant such as amd64/v3 may ask for more than this processor has.
  const fitting = fits.find(({ platform }) => platform !== undefined && isPlain(platform)) ?? fits[0];
  if (fitting !== undefined) return fitting;
  return images.length === 1 ? images.find(({ platform }) => platform === undefined) : undefined;
}
