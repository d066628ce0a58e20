import type { CredentialPlace, CredentialPolicy, CredentialSource, NetworkRule } from './contract.ts';
import { parseHostEntry } from './host-entry.ts';
import { originAt, type FragmentSource } from './origin-at.ts';
import { resolvePath } from './path-text.ts';
import { parsePlace } from './places.ts';
import { isAwsSource, type CredentialWritten, type SourceWritten } from './schema-credentials.ts';
import { parseDuration } from './units.ts';

type Sources = Readonly<Record<string, CredentialSource>>;

/** The credentials of a document. Hosts that are not written come from the rules, in `withRuleHosts`. */
export function credentialRules(
  written: Readonly<Record<string, CredentialWritten>>,
  source: FragmentSource,
): readonly CredentialPolicy[] {
  return Object.entries(written).map(([name, entry]): CredentialPolicy => {
    const sources = sourcesOf(entry, source);
    const refreshMs = entry.refresh === undefined ? undefined : parseDuration(entry.refresh);
    return {
      name,
      sources,
      places: placesOf(entry),
      hosts: hostsOf(entry.hosts ?? []),
      ...(entry.paths === undefined ? {} : { paths: [...new Set(entry.paths)] }),
      scrub: entry.scrub ?? true,
      expose: {
        env: exposedEnv(entry, sources),
        files: (entry.expose?.files ?? []).map((file) => resolvePath(file, source.from)),
      },
      ...(entry.prefix === undefined ? {} : { prefix: entry.prefix }),
      ...(refreshMs === undefined ? {} : { refreshMs }),
      origin: originAt(source, ['credentials', name], entry.why),
    };
  });
}

function sourcesOf({ from }: CredentialWritten, source: FragmentSource): Sources {
  if (!isAwsSource(from)) return { value: sourceOf(from, source) };
  const { accessKeyId, secretAccessKey, sessionToken } = from;
  return {
    accessKeyId: sourceOf(accessKeyId, source),
    secretAccessKey: sourceOf(secretAccessKey, source),
    ...(sessionToken === undefined ? {} : { sessionToken: sourceOf(sessionToken, source) }),
  };
}

function sourceOf(written: SourceWritten, source: FragmentSource): CredentialSource {
  if (typeof written !== 'string') return { kind: 'command', argv: written.command };
  const [kind, ...parts] = written.split(':');
  const name = parts.join(':');
  if (kind === 'file') return { kind, path: resolvePath(name, source.from) };
  return kind === 'env' || kind === 'systemd' ? { kind, name } : { kind: 'store', name };
}

function placesOf(entry: CredentialWritten): readonly CredentialPlace[] {
  const authorization = (scheme: 'bearer' | 'basic'): string => `header:authorization:${scheme}`;
  const texts = [
    ...(entry.header === undefined ? [] : [`header:${entry.header}`]),
    ...(entry.bearer === true ? [authorization('bearer')] : []),
    ...(entry.basic === true ? [authorization('basic')] : []),
    ...(entry.query === undefined ? [] : [`query:${entry.query}`]),
    ...(entry.cookie === undefined ? [] : [`cookie:${entry.cookie}`]),
    ...(entry.sigv4 === true || isAwsSource(entry.from) ? ['sigv4'] : []),
    ...(entry.in ?? []),
  ];
  return [...new Set(texts)].map(parsePlace).filter((place) => place !== undefined);
}

function hostsOf(written: readonly string[]): CredentialPolicy['hosts'] {
  return written.flatMap((text) => {
    const entry = parseHostEntry(text, 'allow');
    return entry.ok ? [{ host: entry.host, port: entry.port ?? 443 }] : [];
  });
}

/** Unless it says otherwise, a secret from a variable is known inside under the same variable. */
function exposedEnv(entry: CredentialWritten, sources: Sources): Readonly<Record<string, string>> {
  const written = entry.expose?.env;
  if (typeof written === 'string') return { [written]: 'value' };
  if (written !== undefined)
    return Object.fromEntries(
      Object.entries(written).flatMap(([name, field]) => (field === undefined ? [] : [[name, field]])),
    );
  return Object.fromEntries(
    Object.entries(sources).flatMap(([field, source]) =>
      source.kind === 'env' ? [[source.name, field]] : [],
    ),
  );
}

/**
 * A rule that lists the headers that pass, with those in which its credentials may stand: no other header passes for looking like one.
 * Undefined credentials bring none; the pin's own places narrow the pinned one's.
 */
export function withCredentialHeaders(
  rule: NetworkRule,
  credentials: readonly CredentialPolicy[],
): NetworkRule {
  const { requests } = rule;
  if (requests?.requestHeaders === undefined || requests.credentials.length === 0) return rule;
  const { pin } = requests;
  const places = credentials
    .filter(({ name }) => requests.credentials.includes(name))
    .flatMap(({ name, places: own }) => (pin?.credential === name ? (pin.places ?? own) : own));
  const headers = [...new Set([...requests.requestHeaders, ...places.flatMap(headersOf)])];
  return { ...rule, requests: { ...requests, requestHeaders: headers } };
}

/** The headers of a place, lower case; of a signature those that it cannot do without. */
function headersOf(place: CredentialPlace): readonly string[] {
  if (place.kind === 'header') return [place.name];
  if (place.kind === 'cookie') return ['cookie'];
  if (place.kind === 'ws-protocol') return ['sec-websocket-protocol'];
  return place.kind === 'sigv4'
    ? ['authorization', 'x-amz-date', 'x-amz-content-sha256', 'x-amz-security-token']
    : [];
}

/** The hosts of the rules that name a credential, where the policy gives it none itself. */
export function withRuleHosts(credential: CredentialPolicy, rules: readonly NetworkRule[]): CredentialPolicy {
  if (credential.hosts.length > 0) return credential;
  const hosts = rules
    .filter((rule) => rule.requests?.credentials.includes(credential.name) === true)
    .flatMap((rule) => rule.ports.map((port) => ({ host: rule.host, port })));
  const seen = new Map(hosts.map((host) => [`${host.host} ${host.port}`, host]));
  return { ...credential, hosts: [...seen.values()] };
}
