import type {
  JsonDeny,
  NetworkProtocol,
  PinRule,
  RequestLimits,
  RequestMatch,
  RequestPolicy,
  ValueMatch,
} from './contract.ts';
import { definedOnly } from './defined.ts';
import { parsePlace } from './places.ts';
import { PRESETS } from './presets.ts';
import type { AllowObject } from './schema-network.ts';
import type { RequestMatchWritten, ValueMatchWritten } from './schema-requests.ts';
import { insideKeys } from './schema-rules.ts';
import { parseDuration, parseSize } from './units.ts';

/** What a rule says about requests, with every default; undefined for a rule that does not look inside. */
export function requestPolicy(rule: AllowObject, protocol: NetworkProtocol): RequestPolicy | undefined {
  if (protocol !== 'https' && protocol !== 'http') return undefined;
  if (insideKeys(rule).length === 0 && rule.tls !== 'inspect') return undefined;
  const allow = allowed(rule);
  const json = jsonRules(rule);
  const pin = pinOf(rule);
  return {
    ...(allow.length === 0 ? {} : { allow }),
    refuse: refused(rule),
    enforcement: rule.mode ?? 'enforce',
    http2: rule.http2 ?? allow.some((match) => match.rpc !== undefined),
    encodedSlash: rule.encodedSlash ?? 'deny',
    websocket: rule.websocket ?? 'deny',
    ...(rule.requestHeaders === undefined ? {} : { requestHeaders: lowerCase(rule.requestHeaders) }),
    setHeaders: lowerKeys(rule.setHeaders ?? {}),
    removeHeaders: lowerCase(rule.removeHeaders ?? []),
    stripResponseHeaders: lowerCase(rule.stripResponseHeaders ?? []),
    ...(json.length === 0 ? {} : { json }),
    ...(rule.mcp === undefined ? {} : { mcp: definedOnly(rule.mcp) }),
    ...(rule.graphql === undefined
      ? {}
      : { graphql: { ...definedOnly(rule.graphql), types: rule.graphql.types ?? ['query'] } }),
    ...(pin === undefined ? {} : { pin }),
    credentials: credentialNames(rule),
    dlp: rule.dlp ?? false,
    limits: limitsOf(rule.limits ?? {}),
  };
}

function allowed(rule: AllowObject): readonly RequestMatch[] {
  const preset = rule.preset === undefined ? [] : PRESETS[rule.preset].allow.map((entry) => entry.value);
  return [...preset, ...shorthand(rule), ...(rule.requests ?? []).map(matchOf)];
}

/** `methods` and `paths` alone: these methods to each of these paths. */
function shorthand({ methods, paths }: AllowObject): readonly RequestMatch[] {
  if (paths === undefined) return methods === undefined ? [] : [{ methods: unique(methods) }];
  return unique(paths).map((path) => ({
    ...(methods === undefined ? {} : { methods: unique(methods) }),
    path,
  }));
}

function refused(rule: AllowObject): readonly RequestMatch[] {
  const preset = rule.preset === undefined ? [] : PRESETS[rule.preset].refuse.map((entry) => entry.value);
  return [...preset, ...(rule.refuse ?? []).map(matchOf)];
}

function matchOf(written: RequestMatchWritten): RequestMatch {
  const headers = written.headers ?? written.header;
  return {
    ...(written.methods === undefined ? {} : { methods: unique(written.methods) }),
    ...(written.path === undefined ? {} : { path: written.path }),
    ...(written.rpc === undefined ? {} : { rpc: written.rpc }),
    ...(written.query === undefined ? {} : { query: valuesOf(written.query) }),
    ...(headers === undefined ? {} : { headers: valuesOf(lowerKeys(headers)) }),
  };
}

function valuesOf(
  written: Readonly<Record<string, ValueMatchWritten>>,
): Readonly<Record<string, ValueMatch>> {
  return Object.fromEntries(Object.entries(written).map(([name, value]) => [name, valueOf(value)]));
}

function valueOf(written: ValueMatchWritten): ValueMatch {
  if (typeof written === 'string')
    return written === 'any' ? { kind: 'any' } : { kind: 'exact', value: written };
  if (written.prefix !== undefined) return { kind: 'prefix', value: written.prefix };
  if (written.regex !== undefined) return { kind: 'regex', pattern: written.regex };
  return { kind: 'exact', value: written.exact ?? '' };
}

function jsonRules(rule: AllowObject): readonly JsonDeny[] {
  const preset = rule.preset === undefined ? [] : PRESETS[rule.preset].json.map((entry) => entry.value);
  const own = (rule.json ?? []).map(({ path, equals, prefix }): JsonDeny => {
    if (equals !== undefined) return { path, match: { kind: 'equals', values: [equals].flat() } };
    if (prefix !== undefined) return { path, match: { kind: 'prefix', values: [prefix].flat() } };
    return { path, match: { kind: 'any' } };
  });
  return [...preset, ...own];
}

function pinOf({ credential, pin }: AllowObject): PinRule | undefined {
  if (credential !== undefined) return { credential, require: true };
  if (pin === undefined) return undefined;
  const places = pin.places?.map(parsePlace).filter((place) => place !== undefined);
  return {
    credential: pin.credential,
    require: pin.require ?? true,
    ...(places === undefined ? {} : { places }),
  };
}

function credentialNames({ credential, pin, credentials = [] }: AllowObject): readonly string[] {
  const pinned = credential ?? pin?.credential;
  return unique([...(pinned === undefined ? [] : [pinned]), ...credentials]);
}

function limitsOf(written: NonNullable<AllowObject['limits']>): RequestLimits {
  const finite = (value: number | undefined): number | undefined => (value === Infinity ? undefined : value);
  const count = (value: number | 'unlimited' | undefined): number | undefined =>
    value === 'unlimited' ? undefined : value;
  return definedOnly({
    requestsPerMinute: count(written.requestsPerMinute),
    concurrency: count(written.concurrency),
    bodyBytes: written.body === undefined ? undefined : finite(parseSize(written.body)),
    requestMs: written.time === undefined ? undefined : finite(parseDuration(written.time)),
  });
}

const unique = (items: readonly string[]): readonly string[] => [...new Set(items)];
const lowerCase = (names: readonly string[]): readonly string[] =>
  unique(names.map((name) => name.toLowerCase()));

function lowerKeys<T>(values: Readonly<Record<string, T>>): Readonly<Record<string, T>> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]));
}
