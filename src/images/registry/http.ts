import http from 'node:http';
import https from 'node:https';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { chunksOf } from '../chunks.ts';
import { judgeAddress } from '../../net/ip-class.ts';
import { parseIp } from '../../net/ip.ts';

/** Undefined for what is no URL. */
export function parseUrl(text: string, base?: URL): URL | undefined {
  return URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
}

/** Which plain-text connections are in order. */
export interface TransportRules {
  /** `--insecure`: http to any host. Certificates are checked all the same where there are any. */
  readonly insecure: boolean;
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
  const host = url.hostname.replace(/^\[|\]$/g, '');
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

/**
 * One GET. Redirects are not followed.
 *
 * @throws E_IMAGE_REGISTRY, E_ABORTED
 */
export function get(
  url: URL,
  headers: Readonly<Record<string, string>>,
  rules: TransportRules,
): Promise<Answer> {
  checkUrl(url, rules);
  const client = url.protocol === 'https:' ? https : http;
  return new Promise((resolve, reject) => {
    const request = client.get(url, {
      headers: { 'user-agent': 'glovebox', 'accept-encoding': 'identity', ...headers },
      agent: false,
      maxHeaderSize: 32 * 1024,
      ...(rules.signal === undefined ? {} : { signal: rules.signal }),
    });
    request.setTimeout(CAPS.registryIdleMs, () => request.destroy(new Error('it sent nothing for a while')));
    request.on('error', (error) => reject(connectionProblem(url, error)));
    request.on('response', (response) => resolve(answerOf(url, response)));
  });
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

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * A GET that follows redirects. Credentials go to the host they are for and to no other; a redirect never leads from https to http,
 * nor from elsewhere to an address of this machine or its network.
 */
export async function getFollowing(
  first: URL,
  headers: Readonly<Record<string, string>>,
  rules: TransportRules,
): Promise<Answer> {
  let url = first;
  for (let hops = 0; hops <= CAPS.registryRedirects; hops++) {
    const { authorization: _secret, ...bare } = headers;
    const answer = await get(url, url.origin === first.origin ? headers : bare, rules);
    if (!REDIRECTS.has(answer.status)) return answer;
    answer.drop();
    const next = redirectTarget(url, answer.header('location'));
    checkRedirect(url, next, first);
    url = next;
  }
  throw new GloveboxError('E_IMAGE_REGISTRY', { what: `${first.host} redirects in a circle` });
}

function redirectTarget(url: URL, location: string | undefined): URL {
  const next = location === undefined ? undefined : parseUrl(location, url);
  if (next === undefined)
    throw new GloveboxError('E_IMAGE_REGISTRY', { what: `${url.host} redirects to nowhere` });
  next.username = '';
  next.password = '';
  return next;
}

/** Exported for its test: no test can own a public address. */
export function checkRedirect(from: URL, to: URL, first: URL): void {
  const refuse = (why: string): GloveboxError =>
    new GloveboxError('E_IMAGE_REGISTRY', { what: `${from.host} redirects to ${to.host}`, why });
  if (from.protocol === 'https:' && to.protocol !== 'https:') throw refuse('and gives up encryption');
  if (isLoopback(first) || to.hostname === first.hostname) return;
  const address = parseIp(to.hostname.replace(/^\[|\]$/g, ''));
  if (to.hostname === 'localhost') throw refuse('which is this machine');
  if (address === undefined) return;
  const { class: kind, what } = judgeAddress(address);
  if (kind !== 'public') throw refuse(`which is ${what}`);
}
