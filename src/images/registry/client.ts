import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import { sha256, mismatch, type Digest } from '../digest.ts';
import { ACCEPTED, type Descriptor } from '../documents.ts';
import { endpointOf, referenceText, type RegistryReference } from '../names.ts';
import { authorize, parseChallenge, unauthorized, type RegistryLogin } from './auth.ts';
import { isLoopback, readSmall, RegistryTransport, type Answer, type TransportRules } from './http.ts';

export interface RegistryOptions extends TransportRules {
  readonly login?: RegistryLogin;
}

export interface FetchedDocument {
  readonly bytes: Buffer;
  readonly digest: Digest;
}

/** What a server that speaks plain http makes of a TLS greeting. */
const NOT_TLS = /^(?:EPROTO|ECONNRESET|ECONNREFUSED|ERR_SSL_|socket hang up)/;

/** Reads one repository by the OCI distribution API (distribution specification 1.1, "Pull"). */
export class RegistryClient {
  readonly #reference: RegistryReference;
  readonly #options: RegistryOptions;
  readonly #transport: RegistryTransport;
  #base: URL | undefined;
  #authorization: string | undefined;

  constructor(reference: RegistryReference, options: RegistryOptions) {
    this.#reference = reference;
    this.#options = options;
    this.#transport = new RegistryTransport(new URL(`https://${endpointOf(reference)}`), options);
  }

  /** By tag or digest; by digest it is what the digest says. @throws E_IMAGE_NOT_FOUND, E_IMAGE_UNAUTHORIZED, E_IMAGE_DIGEST, E_IMAGE_REGISTRY */
  async manifest(which: string, expected?: Pick<Descriptor, 'digest' | 'size'>): Promise<FetchedDocument> {
    const answer = await this.#ask(`manifests/${which}`, { accept: ACCEPTED.join(', ') });
    const bytes = await readSmall(answer, CAPS.imageDocumentBytes, 'the manifest of the image');
    const digest = sha256(bytes);
    const announced = expected?.digest ?? answer.header('docker-content-digest');
    if (announced !== undefined && announced.startsWith('sha256:') && announced !== digest)
      throw mismatch('the manifest of the image', `${announced} was announced, ${digest} came`);
    if (expected !== undefined && expected.size !== bytes.length)
      throw mismatch(
        'the manifest of the image',
        `${expected.size} bytes were announced, ${bytes.length} came`,
      );
    return { bytes, digest };
  }

  /** Not checked yet: whoever reads it does that. */
  async blob(digest: Digest): Promise<AsyncIterable<Buffer>> {
    return (await this.#ask(`blobs/${digest}`, {})).body;
  }

  async #ask(what: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
    const url = new URL(`/v2/${this.#reference.repository}/${what}`, await this.#endpoint());
    let answer = await this.#transport.getFollowing(url, this.#withAuth(headers));
    if (answer.status === 401) {
      answer.drop();
      await this.#logIn(answer.header('www-authenticate'));
      answer = await this.#transport.getFollowing(url, this.#withAuth(headers));
    }
    if (answer.status === 200) return answer;
    answer.drop();
    throw this.#refusal(answer.status, what);
  }

  #withAuth(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    return this.#authorization === undefined ? headers : { ...headers, authorization: this.#authorization };
  }

  async #logIn(header: string | undefined): Promise<void> {
    const { login } = this.#options;
    this.#authorization = await authorize(parseChallenge(header ?? ''), {
      reference: this.#reference,
      transport: this.#transport,
      ...(login === undefined ? {} : { login }),
    });
  }

  #refusal(status: number, what: string): GloveboxError {
    const name = referenceText(this.#reference);
    if (status === 401 || status === 403)
      return unauthorized(this.#reference, this.#options.login !== undefined);
    if (status === 404)
      return new GloveboxError('E_IMAGE_NOT_FOUND', {
        what: `${this.#reference.host} has no ${what.startsWith('manifests/') ? name : `${what} of ${name}`}`,
        next: 'Check the name and the tag.',
      });
    return new GloveboxError('E_IMAGE_REGISTRY', {
      what: `${this.#reference.host} answers ${status} for ${what.slice(0, 100)}`,
      ...(status === 429
        ? { next: 'It limits how often it is asked: wait, or log in and pass --auth.' }
        : {}),
    });
  }

  /** https, except where `--insecure` or a registry on this machine speaks http. */
  async #endpoint(): Promise<URL> {
    if (this.#base !== undefined) return this.#base;
    const host = endpointOf(this.#reference);
    const secure = new URL(`https://${host}`);
    const mayBePlain = this.#options.insecure || isLoopback(secure);
    this.#base = mayBePlain && !(await this.#speaksTls(secure)) ? new URL(`http://${host}`) : secure;
    return this.#base;
  }

  async #speaksTls(url: URL): Promise<boolean> {
    try {
      (await this.#transport.get(new URL('/v2/', url), {})).drop();
      return true;
    } catch (error) {
      if (!(error instanceof GloveboxError) || error.code === 'E_ABORTED') throw error;
      // A certificate that is wrong is one; an answer in plain text is none, and so is no answer at all.
      return !NOT_TLS.test(error.why ?? '');
    }
  }
}
