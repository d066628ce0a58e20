import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { tarOf, type TarSpec } from './tar.ts';

export const OCI = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

export const DOCKER = {
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
} as const;

export interface Blob_ {
  readonly digest: string;
  readonly bytes: Buffer;
}

/** An image as documents and blobs, honest unless a test changes it. */
export interface TestImage {
  readonly manifest: Blob_;
  readonly mediaType: string;
  readonly config: Blob_;
  readonly layers: readonly Blob_[];
}

export const digestOf = (bytes: Uint8Array | string): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

export const blobOf = (bytes: Uint8Array | string): Blob_ => ({
  digest: digestOf(bytes),
  bytes: Buffer.from(bytes),
});

export interface ImageSpec {
  readonly layers: readonly (readonly TarSpec[])[];
  readonly config?: Readonly<Record<string, unknown>>;
  /** Layers that are tar archives already, after the others. */
  readonly rawLayers?: readonly Buffer[];
  readonly architecture?: string;
  readonly types?: typeof OCI | typeof DOCKER;
  /** Changes the documents before they are hashed. */
  readonly alterConfig?: (config: Record<string, unknown>) => void;
  readonly alterManifest?: (manifest: Record<string, unknown>) => void;
}

export const hostArchitecture = process.arch === 'x64' ? 'amd64' : process.arch;

export function imageOf(spec: ImageSpec): TestImage {
  const { types = OCI } = spec;
  const tars = [...spec.layers.map((layer) => tarOf(layer)), ...(spec.rawLayers ?? [])];
  const layers = tars.map((tar) => blobOf(gzipSync(tar)));
  const config: Record<string, unknown> = {
    os: 'linux',
    architecture: spec.architecture ?? hostArchitecture,
    config: spec.config ?? {},
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => digestOf(tar)) },
  };
  spec.alterConfig?.(config);
  const configBlob = blobOf(JSON.stringify(config));
  const descriptor = (mediaType: string, { digest, bytes }: Blob_): object => ({
    mediaType,
    digest,
    size: bytes.length,
  });
  const manifest: Record<string, unknown> = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: descriptor(types.config, configBlob),
    layers: layers.map((layer) => descriptor(types.layer, layer)),
  };
  spec.alterManifest?.(manifest);
  return {
    manifest: blobOf(JSON.stringify(manifest)),
    mediaType: types.manifest,
    config: configBlob,
    layers,
  };
}

/** One request as the server saw it. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly authorization: string | undefined;
  readonly host: string | undefined;
}

export interface RegistryOptions {
  /** `bearer`: a token for `user:password` (or for nobody, with `anonymous`). */
  readonly auth?: 'basic' | 'bearer';
  readonly anonymous?: boolean;
  /** Where blobs are redirected to. */
  readonly redirect?: (digest: string) => string | undefined;
  /** Replaces what is sent for a blob. */
  readonly tamper?: (digest: string, bytes: Buffer) => Buffer;
  /** Speaks TLS with this certificate. */
  readonly tls?: { readonly key: Buffer; readonly cert: Buffer };
  /** Sends so many bytes of a blob and hangs up. */
  readonly cutAfter?: number;
}

export const LOGIN = 'user:pass:word';
const TOKEN = 'token-of-the-registry';

/** A registry that speaks the pull side of the OCI distribution API over http on this machine. */
export class TestRegistry implements AsyncDisposable {
  readonly seen: SeenRequest[] = [];
  readonly #blobs = new Map<string, Buffer>();
  readonly #manifests = new Map<string, { readonly bytes: Buffer; readonly mediaType: string }>();
  readonly #options: RegistryOptions;
  readonly #server: Server;

  private constructor(options: RegistryOptions) {
    this.#options = options;
    const serve = (request: IncomingMessage, response: ServerResponse): void =>
      this.#serve(request, response);
    this.#server = options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve);
  }

  static async start(options: RegistryOptions = {}): Promise<TestRegistry> {
    const registry = new TestRegistry(options);
    await new Promise<void>((resolve) => registry.#server.listen(0, '127.0.0.1', resolve));
    return registry;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return `127.0.0.1:${this.port}`;
  }

  add(repository: string, tag: string, image: TestImage): void {
    for (const blob of [image.config, ...image.layers]) this.#blobs.set(blob.digest, blob.bytes);
    this.put(repository, [tag, image.manifest.digest], image.manifest.bytes, image.mediaType);
  }

  /** An index of images by architecture. */
  addIndex(
    repository: string,
    tag: string,
    images: Readonly<Record<string, TestImage>>,
    mediaType: string = OCI.index,
  ): string {
    const manifests = Object.entries(images).map(([architecture, image]) => {
      this.add(repository, image.manifest.digest, image);
      const { digest, bytes } = image.manifest;
      return {
        mediaType: image.mediaType,
        digest,
        size: bytes.length,
        platform: { os: 'linux', architecture },
      };
    });
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
    this.put(repository, [tag, digestOf(bytes)], bytes, mediaType);
    return digestOf(bytes);
  }

  put(repository: string, names: readonly string[], bytes: Buffer, mediaType: string): void {
    for (const name of names) this.#manifests.set(`${repository}/${name}`, { bytes, mediaType });
  }

  /** Requests for blobs. */
  get fetched(): readonly string[] {
    return this.seen.flatMap(({ url }) => /\/blobs\/(.*)$/.exec(url)?.[1] ?? []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = request;
    this.seen.push({ method, url, authorization: headers.authorization, host: headers.host });
    const { pathname } = new URL(url, 'http://registry');
    if (pathname === '/token') return this.#token(headers.authorization, response);
    if (!this.#allowed(headers.authorization)) return this.#challenge(response);
    const manifest = /^\/v2\/(.+)\/manifests\/([^/]+)$/.exec(pathname);
    const blob = /^\/v2\/.+\/blobs\/([^/]+)$/.exec(pathname) ?? /^\/cdn\/([^/]+)$/.exec(pathname);
    if (pathname === '/v2/') response.end('{}');
    else if (manifest !== null) this.#manifest(`${manifest[1]}/${manifest[2]}`, response);
    else if (blob !== null) this.#blob(blob[1] ?? '', response);
    else response.writeHead(404).end();
  }

  #manifest(key: string, response: ServerResponse): void {
    const found = this.#manifests.get(key);
    if (found === undefined) return void response.writeHead(404).end();
    response.writeHead(200, {
      'content-type': found.mediaType,
      'docker-content-digest': digestOf(found.bytes),
    });
    response.end(found.bytes);
  }

  #blob(digest: string, response: ServerResponse): void {
    const bytes = this.#blobs.get(digest);
    if (bytes === undefined) return void response.writeHead(404).end();
    const { redirect, tamper, cutAfter } = this.#options;
    const to = redirect?.(digest);
    if (to !== undefined) return void response.writeHead(307, { location: to }).end();
    const sent = tamper?.(digest, bytes) ?? bytes;
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': sent.length });
    if (cutAfter === undefined || sent.length < 600) return void response.end(sent);
    response.write(sent.subarray(0, cutAfter), () => response.destroy());
  }

  #allowed(authorization: string | undefined): boolean {
    const { auth } = this.#options;
    if (auth === undefined) return true;
    return authorization === (auth === 'bearer' ? `Bearer ${TOKEN}` : basic());
  }

  #challenge(response: ServerResponse): void {
    const { auth } = this.#options;
    const realm = `Bearer realm="http://${this.host}/token",service="test",scope="repository:*:*"`;
    response.writeHead(401, { 'www-authenticate': auth === 'bearer' ? realm : 'Basic realm="test"' }).end();
  }

  #token(authorization: string | undefined, response: ServerResponse): void {
    if (this.#options.anonymous !== true && authorization !== basic())
      return void response.writeHead(401).end();
    response.end(JSON.stringify({ token: TOKEN }));
  }
}

const basic = (): string => `Basic ${Buffer.from(LOGIN).toString('base64')}`;
