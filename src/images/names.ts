import { GloveboxError } from '../base/errors.ts';
import { isDigest, type Digest } from './digest.ts';

/** Local names are file names in the store, percent-encoded. */
const NAME_MAX = 200;

const COMPONENT = String.raw`[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`;
const PATH = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::[0-9]{1,5})?$/;

/** Where an image is fetched from (the `reference` grammar that container engines share). */
export interface RegistryReference {
  /** `host` or `host:port`. */
  readonly host: string;
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** The registry that names without a host mean, everywhere. */
const DEFAULT_HOST = 'docker.io';
const DEFAULT_ENDPOINT = 'registry-1.docker.io';

/**
 * A name in the local store, in its one form: `:latest` goes without saying.
 *
 * @throws E_IMAGE_NAME
 */
export function localName(text: string): string {
  const name = text.endsWith(':latest') ? text.slice(0, -':latest'.length) : text;
  if (!isName(name)) throw badName(text);
  return name;
}

function isName(text: string): boolean {
  const [host, rest] = splitHost(text);
  const [repository, tag] = splitTag(rest);
  const fine =
    (host === undefined || isHost(host)) && PATH.test(repository) && (tag === undefined || TAG.test(tag));
  return fine && text.length <= NAME_MAX;
}

/** @throws E_IMAGE_NAME */
export function parseReference(text: string): RegistryReference {
  const at = text.indexOf('@');
  const digest = at === -1 ? undefined : text.slice(at + 1);
  const [host = DEFAULT_HOST, rest] = splitHost(at === -1 ? text : text.slice(0, at));
  const [path, tag] = splitTag(rest);
  const repository = host === DEFAULT_HOST && !path.includes('/') ? `library/${path}` : path;
  if (!isHost(host) || !PATH.test(repository) || (tag !== undefined && !TAG.test(tag)) || text.length > 512)
    throw badName(text);
  if (digest !== undefined && !isDigest(digest)) throw badName(text);
  return {
    host,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** The name that a pulled image gets: the reference as it was typed, a digest shortened to a tag. */
export function nameOfReference(text: string): string {
  const at = text.indexOf('@');
  if (at === -1) return localName(text);
  const before = text.slice(0, at);
  const [, tag] = splitTag(splitHost(before)[1]);
  return localName(
    tag === undefined
      ? `${before}:${text
          .slice(at + 1)
          .replace(':', '-')
          .slice(0, 19)}`
      : before,
  );
}

/** `host/repository:tag@digest`, with everything in it. */
export function referenceText(reference: RegistryReference): string {
  const { host, repository, tag, digest } = reference;
  return `${host}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/** The host that is asked. */
export function endpointOf(reference: RegistryReference): string {
  return reference.host === DEFAULT_HOST ? DEFAULT_ENDPOINT : reference.host;
}

/** Ports and addresses that only look like some are none. */
function isHost(text: string): boolean {
  return HOST.test(text) && URL.canParse(`https://${text}`);
}

/** The first part is a host when it looks like one: it has a dot or port, or is `localhost`. */
function splitHost(text: string): readonly [string | undefined, string] {
  const slash = text.indexOf('/');
  const first = slash === -1 ? '' : text.slice(0, slash);
  const looksLikeHost = first === 'localhost' || /[.:\]]/.test(first);
  return looksLikeHost ? [first, text.slice(slash + 1)] : [undefined, text];
}

function splitTag(text: string): readonly [string, string | undefined] {
  const colon = text.lastIndexOf(':');
  return colon === -1 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}

function badName(text: string): GloveboxError {
  const lower = text.toLowerCase();
  return new GloveboxError('E_IMAGE_NAME', {
    what: `${JSON.stringify(text.slice(0, 200))} is not the name of an image`,
    ...(lower !== text && isName(lower) ? { next: `Did you mean ${lower}?` } : {}),
  });
}
