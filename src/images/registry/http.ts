import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import tls from 'node:tls';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { judgeAddress } from '../../net/ip-class.ts';
import { parseIp, type IpAddress } from '../../net/ip.ts';
import { chunksOf } from '../chunks.ts';
import { openTunnel, usesProxy, type RegistryProxy } from './proxy.ts';
import { HostAddresses, hostOf, vetted } from './reach.ts';

/** Undefined for what is no URL. */
export function parseUrl(text: string, base?: URL): URL | undefined {
  return URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
}

/** How a registry is spoken to. */
export interface TransportRules {
  /** `--insecure`: http to any host. Certificates are checked all the same where there are any. */
  readonly insecure: boolean;
  readonly proxy?: RegistryProxy;
  /** Names that are resolved already; default: as the system does. */
  readonly addresses?: HostAddresses;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  header(name: string): string | undefined;
  /** Ends with E_IMAGE_REGISTRY when the connection breaks. Must be read or dropped. */
  readonly body: AsyncIterable<Buffer>;
  drop(): void;
}

/** True for a name or address of this machine itself. */
export function isLoopback(url: URL): boolean {
  const host = hostOf(url);
  const address = parseIp(host);
  return address === undefined ? host === 'localhost' : judgeAddress(address).class === 'loopback';
}

/** @throws E_IMAGE_REGISTRY for plain http to somewhere else, and for other schemes */
export function checkUrl(url: URL, rules: TransportRules): void {
  if (url.protocol === 'https:') return;
  if (url.protocol === 'http:' && (rules.insecure || isLoopback(url))) return;
  throw new GloveboxError('E_IMAGE_REGISTRY', {
    what: `${url.protocol}//${url.host} is not encrypted`,
    why: 'anybody on the way could change the image',
    next: 'Use https, or pass --insecure for a registry on a network that is yours.',
  });
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

type Headers = Readonly<Record<string, string>>;

/**
 * Requests for one registry, which a person named. Where it leads to, by a redirect or as its token server, it cannot reach further
 * into this machine or its network than it stands itself: names are resolved once, and the address that was looked at is dialled. Behind
 * a proxy only addresses in place of names are looked at; what names lead to is the proxy's to say.
 */
export class RegistryTransport {
  readonly #registry: URL;
  readonly #rules: TransportRules;
  readonly #addresses: HostAddresses;

  /** `registry`: its origin. */
  constructor(registry: URL, rules: TransportRules) {
    this.#registry = registry;
    this.#rules = rules;
    this.#addresses = rules.addresses ?? new HostAddresses();
  }

  /**
   * One GET. Redirects are not followed.
   *
   * @throws E_IMAGE_REGISTRY, E_ABORTED
   */
  async get(url: URL, headers: Headers): Promise<Answer> {
    checkUrl(url, this.#rules);
    try {
      return await this.#send(url, headers, await this.#connection(url));
    } catch (error) {
      throw connectionProblem(url, error);
    }
  }

  /** A GET that follows redirects. Credentials go to the host they are for and to no other; a redirect never leads from https to http. */
  async getFollowing(first: URL, headers: Headers): Promise<Answer> {
    let url = first;
    for (let hops = 0; hops <= CAPS.registryRedirects; hops++) {
      const { authorization: _secret, ...bare } = headers;
      const answer = await this.get(url, url.origin === first.origin ? headers : bare);
      if (!REDIRECTS.has(answer.status)) return answer;
      answer.drop();
      url = redirectTarget(url, answer.header('location'));
    }
    throw new GloveboxError('E_IMAGE_REGISTRY', { what: `${first.host} redirects in a circle` });
  }

  #send(url: URL, headers: Headers, connection: https.RequestOptions): Promise<Answer> {
    const { signal } = this.#rules;
    const client = url.protocol === 'https:' ? https : http;
    return new Promise((resolve, reject) => {
      const request = client.get(url, {
        headers: { 'user-agent': 'glovebox', 'accept-encoding': 'identity', ...headers },
        maxHeaderSize: 32 * 1024,
        ...connection,
        ...(signal === undefined ? {} : { signal }),
      });
      request.setTimeout(CAPS.registryIdleMs, () =>
        request.destroy(new Error('it sent nothing for a while')),
      );
      request.on('error', reject);
      request.on('response', (response) => resolve(answerOf(url, response)));
    });
  }

  /** The way to a host: to its vetted addresses, or through the proxy. */
  async #connection(url: URL): Promise<https.RequestOptions> {
    const { proxy, signal } = this.#rules;
    if (isLoopback(url) || !usesProxy(proxy, url))
      return { agent: false, lookup: lookupOf(await this.#addressesOf(url)) };
    const literal = parseIp(hostOf(url));
    if (literal !== undefined) await this.#vet(url, [literal]);
    const socket = await openTunnel(proxy, url, signal);
    const servername = literal === undefined ? { servername: url.hostname } : {};
    const secure = tls.connect({ socket, host: hostOf(url), ...servername });
    // Without an agent, which would know, the Host header takes the port of http.
    return { createConnection: () => secure, defaultPort: 443 };
  }

  async #addressesOf(url: URL): Promise<readonly IpAddress[]> {
    return this.#vet(url, await this.#addresses.of(hostOf(url)));
  }

  async #vet(url: URL, addresses: readonly IpAddress[]): Promise<readonly IpAddress[]> {
    if (url.hostname === this.#registry.hostname) return addresses;
    const isBehindProxy = !isLoopback(this.#registry) && usesProxy(this.#rules.proxy, this.#registry);
    const host = hostOf(this.#registry);
    const literal = parseIp(host);
    const own = isBehindProxy ? (literal === undefined ? [] : [literal]) : await this.#addresses.of(host);
    return vetted(url, addresses, { host: this.#registry.host, addresses: own });
  }
}

/** Answers with what was looked up before, in both forms that `net.connect` asks for. */
function lookupOf(addresses: readonly IpAddress[]): LookupFunction {
  const all = addresses.map(({ text, version }) => ({ address: text, family: version }));
  return (host, options, done) => {
    const [first] = all;
    if (first === undefined) done(new Error(`${host} has no address`), '', 0);
    else if (options.all === true) done(null, all);
    else done(null, first.address, first.family);
  };
}

function redirectTarget(url: URL, location: string | undefined): URL {
  const next = location === undefined ? undefined : parseUrl(location, url);
  if (next === undefined)
    throw new GloveboxError('E_IMAGE_REGISTRY', { what: `${url.host} redirects to nowhere` });
  if (url.protocol === 'https:' && next.protocol !== 'https:')
    throw new GloveboxError('E_IMAGE_REGISTRY', {
      what: `${url.host} redirects to ${next.host}`,
      why: 'and gives up encryption',
    });
  next.username = '';
  next.password = '';
  return next;
}

function answerOf(url: URL, response: http.IncomingMessage): Answer {
  response.on('error', () => undefined);
  return {
    status: response.statusCode ?? 0,
    header: (name) => {
      const value = response.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    },
    body: bodyOf(url, response),
    drop: () => void response.destroy(),
  };
}

async function* bodyOf(url: URL, response: http.IncomingMessage): AsyncGenerator<Buffer, void, void> {
  try {
    yield* chunksOf(response);
  } catch (error) {
    throw error instanceof GloveboxError ? error : connectionProblem(url, error);
  } finally {
    response.destroy();
  }
}

function connectionProblem(url: URL, error: unknown): GloveboxError {
  if (error instanceof GloveboxError) return error;
  const isAbort = error instanceof Error && error.name === 'AbortError';
  if (isAbort) return new GloveboxError('E_ABORTED', { what: 'the pull was aborted', cause: error });
  const text = error instanceof Error ? error.message : String(error);
  return new GloveboxError('E_IMAGE_REGISTRY', {
    what: `the connection to ${url.host} failed`,
    why: (systemCode(error) ?? text).slice(0, 200),
    cause: error,
  });
}

/** Reads a small answer whole. @throws E_IMAGE_REGISTRY when it is larger than `most` */
export async function readSmall(answer: Answer, most: number, what: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer.body) {
    bytes += chunk.length;
    if (bytes > most)
      throw new GloveboxError('E_IMAGE_REGISTRY', {
        what: `${what} is too large`,
        why: `at most ${most} bytes`,
      });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
