import { readFileSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import type { RegistryReference } from '../names.ts';
import { parseDocument } from '../documents.ts';
import { parseUrl, readSmall, type RegistryTransport } from './http.ts';

/** A user name and password for one registry. */
export interface RegistryLogin {
  readonly username: string;
  readonly password: string;
}

/** Answers of token servers are a few kilobytes. */
const TOKEN_ANSWER_BYTES = 256 * 1024;

/** What a registry wants (RFC 9110 §11.6.1; distribution specification, "Token Authentication"). */
export type Challenge =
  | { readonly scheme: 'basic' }
  | { readonly scheme: 'bearer'; readonly realm: string; readonly service?: string };

/** Reads a `WWW-Authenticate` header; undefined when it asks for something else. Pure. */
export function parseChallenge(header: string): Challenge | undefined {
  const text = header.slice(0, 8192);
  const bearer = /(?:^|,\s*)Bearer\s+(.*)$/is.exec(text)?.[1];
  if (bearer === undefined) return /(?:^|,\s*)Basic(?:\s|$)/i.test(text) ? { scheme: 'basic' } : undefined;
  const fields = new Map(
    [...bearer.matchAll(/([a-z_]+)="([^"]*)"/gi)].map((match) => [match[1]?.toLowerCase(), match[2]]),
  );
  const [realm, service] = [fields.get('realm'), fields.get('service')];
  if (realm === undefined) return undefined;
  return { scheme: 'bearer', realm, ...(service === undefined ? {} : { service }) };
}

/**
 * The `Authorization` header that answers a challenge. The scope is our own: to read this repository, whatever the registry asks for.
 *
 * @throws E_IMAGE_UNAUTHORIZED, E_IMAGE_REGISTRY
 */
export async function authorize(
  challenge: Challenge | undefined,
  facts: {
    readonly reference: RegistryReference;
    readonly login?: RegistryLogin;
    readonly transport: RegistryTransport;
  },
): Promise<string> {
  const { reference, login, transport } = facts;
  const basic = login === undefined ? undefined : basicHeader(login);
  if (challenge?.scheme !== 'bearer') {
    if (basic === undefined || challenge === undefined) throw unauthorized(reference, login !== undefined);
    return basic;
  }
  const url = parseUrl(challenge.realm);
  if (url === undefined)
    throw new GloveboxError('E_IMAGE_REGISTRY', { what: `${reference.host} names no usable token server` });
  if (challenge.service !== undefined) url.searchParams.set('service', challenge.service);
  url.searchParams.set('scope', `repository:${reference.repository}:pull`);
  const answer = await transport.get(url, basic === undefined ? {} : { authorization: basic });
  const body = await readSmall(answer, TOKEN_ANSWER_BYTES, 'the answer of the token server');
  if (answer.status === 401 || answer.status === 403) throw unauthorized(reference, login !== undefined);
  if (answer.status !== 200)
    throw new GloveboxError('E_IMAGE_REGISTRY', {
      what: `the token server ${url.host} answers ${answer.status}`,
    });
  return `Bearer ${tokenOf(body)}`;
}

function tokenOf(body: Buffer): string {
  const document = parseDocument(body, 'the answer of the token server');
  const token = document['token'] ?? document['access_token'];
  if (typeof token === 'string' && /^[\x21-\x7e]{1,65536}$/.test(token)) return token;
  throw new GloveboxError('E_IMAGE_REGISTRY', { what: 'the token server gives no usable token' });
}

export function unauthorized(reference: RegistryReference, withLogin: boolean): GloveboxError {
  return new GloveboxError('E_IMAGE_UNAUTHORIZED', {
    what: `${reference.host} does not give out ${reference.repository}`,
    why: withLogin ? 'the login of your engine is not enough' : 'it does not exist, or it is private',
  });
}

const basicHeader = (login: RegistryLogin): string =>
  `Basic ${Buffer.from(`${login.username}:${login.password}`).toString('base64')}`;

/**
 * The login that `docker login` or `podman login` left in a config.json, read only when somebody asks for it.
 *
 * @throws E_IMAGE_UNAUTHORIZED when there is none, or it is kept by a helper program
 */
export function engineLogin(
  reference: RegistryReference,
  env: NodeJS.ProcessEnv,
  home: string,
): RegistryLogin {
  const file = path.join(env['DOCKER_CONFIG'] ?? path.join(home, '.docker'), 'config.json');
  const keys =
    reference.host === 'docker.io'
      ? ['https://index.docker.io/v1/', 'docker.io']
      : [reference.host, `https://${reference.host}`];
  const none = (why: string): GloveboxError =>
    new GloveboxError('E_IMAGE_UNAUTHORIZED', { what: `${file} has no login for ${reference.host}`, why });
  const auths = readAuths(file, none);
  for (const key of keys) {
    const entry = Object.hasOwn(auths, key) ? auths[key] : undefined;
    const auth = typeof entry === 'object' && entry !== null && 'auth' in entry ? entry.auth : undefined;
    if (typeof auth !== 'string') continue;
    const text = Buffer.from(auth, 'base64').toString('utf8').replace(/\0+$/, '');
    const colon = text.indexOf(':');
    if (colon > 0) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
  }
  throw none('credential helpers (credsStore, credHelpers) are not asked');
}

function readAuths(file: string, none: (why: string) => GloveboxError): Readonly<Record<string, unknown>> {
  try {
    const { auths } = parseDocument(readFileSync(file), file);
    return typeof auths === 'object' && auths !== null ? { ...auths } : {};
  } catch (error) {
    throw none(systemCode(error) ?? 'it cannot be read');
  }
}
