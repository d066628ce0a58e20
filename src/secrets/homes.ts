import { allowsPath, parsePathGlob } from '../net/http-path-glob.ts';
import type { CredentialPlace, CredentialPolicy } from '../policy/contract.ts';
import { bodyForm } from './body-swap.ts';
import type { OutgoingRequest } from './contract.ts';
import { isHomeHost } from './home-host.ts';
import type { Keyring } from './keyring.ts';
import { signsBody } from './sigv4.ts';

/** Credentials that may be put into a request: its rule names them, and its host, port and path are theirs. */
export function swappableFor(keyring: Keyring, request: OutgoingRequest): readonly CredentialPolicy[] {
  const { requests } = request.rule;
  const named = new Set([
    ...(requests?.credentials ?? []),
    ...(requests?.pin ? [requests.pin.credential] : []),
  ]);
  return [...keyring.all()]
    .map(({ policy }) => policy)
    .filter((policy) => named.has(policy.name) && isAtHome(policy, request));
}

/** True when the whole body is needed: a secret may go into it, or a signature covers it. */
export function needsBody(keyring: Keyring, request: OutgoingRequest): boolean {
  if (!anyPlace(keyring, 'body') && !anyPlace(keyring, 'sigv4')) return false;
  const swappable = swappableFor(keyring, request);
  if (bodyOwners(swappable, request).length > 0) return true;
  return swappable.some((policy) => hasPlace(policy, 'sigv4')) && signsBody(request);
}

/** Credentials whose placeholders may stand in this request's body. */
export function bodyOwners(
  swappable: readonly CredentialPolicy[],
  request: OutgoingRequest,
): readonly CredentialPolicy[] {
  return bodyForm(request.headers) === undefined
    ? []
    : swappable.filter((policy) => hasPlace(policy, 'body'));
}

function anyPlace(keyring: Keyring, kind: CredentialPlace['kind']): boolean {
  for (const { policy } of keyring.all()) if (hasPlace(policy, kind)) return true;
  return false;
}

export function hasPlace(policy: CredentialPolicy, kind: CredentialPlace['kind']): boolean {
  return policy.places.some((place) => place.kind === kind);
}

function isAtHome(policy: CredentialPolicy, request: OutgoingRequest): boolean {
  if (!isHomeHost(policy, request.host, request.port)) return false;
  if (policy.paths === undefined) return true;
  // An origin that takes it for a slash would serve another path than the one that is compared.
  if (request.rule.requests?.encodedSlash !== 'allow' && /%2f/i.test(request.path)) return false;
  const globs = policy.paths.flatMap((text) => {
    const parsed = parsePathGlob(text, 'allow');
    return parsed.ok ? [parsed.glob] : [];
  });
  return allowsPath(globs, request.path);
}
