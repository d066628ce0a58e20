import { canonicalJson } from '../base/canonical-json.ts';
import type {
  GraphqlRules,
  JsonDeny,
  McpRules,
  PinRule,
  RequestLimits,
  RequestMatch,
  RequestPolicy,
} from './contract.ts';
import { matchCovers } from './path-cover.ts';

type Gap = (wide: RequestPolicy, narrow: RequestPolicy) => string | undefined;

/** Everything a rule may say about requests, in the order in which a person is told. */
const GAPS: readonly Gap[] = [
  (wide, narrow) => pinGap(wide.pin, narrow.pin),
  (wide, narrow) => allowGap(wide.allow, narrow.allow),
  (wide, narrow) => refuseGap(wide.refuse, narrow.refuse),
  (wide, narrow) =>
    wide.enforcement === 'enforce' && narrow.enforcement !== 'enforce'
      ? 'it is enforced there, not observed'
      : undefined,
  (wide, narrow) => (narrow.http2 && !wide.http2 ? 'HTTP/2 is not offered there' : undefined),
  (wide, narrow) =>
    narrow.encodedSlash === 'allow' && wide.encodedSlash === 'deny' ? '%2f is refused there' : undefined,
  (wide, narrow) =>
    WEBSOCKET[narrow.websocket] > WEBSOCKET[wide.websocket]
      ? `websocket is ${wide.websocket} there`
      : undefined,
  headerGap,
  (wide, narrow) => jsonGap(wide.json ?? [], narrow.json ?? []),
  (wide, narrow) => mcpGap(wide.mcp, narrow.mcp),
  (wide, narrow) => graphqlGap(wide.graphql, narrow.graphql),
  (wide, narrow) => (wide.dlp && !narrow.dlp ? 'it is scanned there' : undefined),
  (wide, narrow) => limitGap(wide.limits, narrow.limits),
];

const WEBSOCKET = { deny: 0, inspect: 1, allow: 2 } as const;

/** Why requests under the narrow rule could be more than under the wide; undefined when they cannot. In doubt there is a gap. */
export function requestGap(
  wide: RequestPolicy | undefined,
  narrow: RequestPolicy | undefined,
): string | undefined {
  if (wide === undefined) return undefined;
  if (narrow === undefined) return 'it is inspected there';
  for (const gap of GAPS) {
    const why = gap(wide, narrow);
    if (why !== undefined) return why;
  }
  return undefined;
}

function pinGap(wide: PinRule | undefined, narrow: PinRule | undefined): string | undefined {
  if (wide === undefined) return undefined;
  if (narrow?.credential !== wide.credential) return `it is pinned to credential ${wide.credential} there`;
  if (wide.require && !narrow.require) return `credential ${wide.credential} is required there`;
  if (wide.places === undefined && narrow.places === undefined) return undefined;
  const places = new Set(wide.places?.map((place) => canonicalJson(place)));
  return narrow.places?.every((place) => places.has(canonicalJson(place))) === true
    ? undefined
    : `credential ${wide.credential} may stand in other places there`;
}

function allowGap(
  wide: readonly RequestMatch[] | undefined,
  narrow: readonly RequestMatch[] | undefined,
): string | undefined {
  if (wide === undefined) return undefined;
  if (narrow === undefined) return 'only some requests pass there';
  const beyond = narrow.find((asked) => !wide.some((match) => matchCovers(match, asked)));
  return beyond === undefined ? undefined : `${matchText(beyond)} does not pass there`;
}

function refuseGap(wide: readonly RequestMatch[], narrow: readonly RequestMatch[]): string | undefined {
  const lost = wide.find((refused) => !narrow.some((match) => matchCovers(match, refused)));
  return lost === undefined ? undefined : `${matchText(lost)} is refused there`;
}

function headerGap(wide: RequestPolicy, narrow: RequestPolicy): string | undefined {
  const within = (inner: readonly string[], outer: readonly string[]): boolean =>
    inner.every((name) => outer.includes(name));
  const passing = wide.requestHeaders;
  if (
    passing !== undefined &&
    !(narrow.requestHeaders !== undefined && within(narrow.requestHeaders, passing))
  )
    return 'fewer request headers pass there';
  // A header that is set on the way out is not judged any more: it must be the same.
  if (canonicalJson(wide.setHeaders) !== canonicalJson(narrow.setHeaders))
    return 'other headers are set there';
  if (!within(wide.removeHeaders, narrow.removeHeaders)) return 'more request headers are removed there';
  return within(wide.stripResponseHeaders, narrow.stripResponseHeaders)
    ? undefined
    : 'more response headers are removed there';
}

function jsonGap(wide: readonly JsonDeny[], narrow: readonly JsonDeny[]): string | undefined {
  const lost = wide.find((rule) => !narrow.some((own) => own.path === rule.path && denies(own, rule)));
  return lost === undefined ? undefined : `${lost.path} in a JSON body is refused there`;
}

function denies({ match: own }: JsonDeny, { match: asked }: JsonDeny): boolean {
  if (own.kind === 'any') return true;
  if (asked.kind === 'any') return false;
  return asked.values.every((value) =>
    own.kind === 'prefix'
      ? own.values.some((one) => value.startsWith(one))
      : asked.kind === 'equals' && own.values.includes(value),
  );
}

/** Names and `prefix*`. */
function namesGap(
  wide: readonly string[] | undefined,
  narrow: readonly string[] | undefined,
  what: string,
): string | undefined {
  if (wide === undefined) return undefined;
  if (narrow === undefined) return `only some ${what} pass there`;
  const covers = (own: string, asked: string): boolean =>
    own === asked || (own.endsWith('*') && asked.startsWith(own.slice(0, -1)));
  const beyond = narrow.find((asked) => !wide.some((own) => covers(own, asked)));
  return beyond === undefined ? undefined : `${beyond} is not among the ${what} there`;
}

function mcpGap(wide: McpRules | undefined, narrow: McpRules | undefined): string | undefined {
  if (wide === undefined) return undefined;
  if (narrow === undefined) return 'it is judged as MCP there';
  return namesGap(wide.tools, narrow.tools, 'tools') ?? namesGap(wide.methods, narrow.methods, 'MCP methods');
}

function graphqlGap(wide: GraphqlRules | undefined, narrow: GraphqlRules | undefined): string | undefined {
  if (wide === undefined) return undefined;
  if (narrow === undefined) return 'it is judged as GraphQL there';
  const type = narrow.types.find((asked) => !wide.types.includes(asked));
  return type === undefined
    ? namesGap(wide.fields, narrow.fields, 'GraphQL fields')
    : `a GraphQL ${type} does not pass there`;
}

const LIMITS = ['requestsPerMinute', 'concurrency', 'bodyBytes', 'requestMs'] as const;

function limitGap(wide: RequestLimits, narrow: RequestLimits): string | undefined {
  const over = LIMITS.find((key) => (wide[key] ?? Infinity) < (narrow[key] ?? Infinity));
  return over === undefined ? undefined : `its limit for ${over} there is ${wide[over]}`;
}

/** One shape of request on one line: `GET,HEAD /v1/** ?ref=main`. */
export function matchText(match: RequestMatch): string {
  const values = (given: RequestMatch['query'], mark: string): readonly string[] =>
    Object.entries(given ?? {}).map(([name, value]) => {
      if (value.kind === 'any') return `${mark}${name}`;
      if (value.kind === 'regex') return `${mark}${name}~${JSON.stringify(value.pattern)}`;
      return `${mark}${name}=${JSON.stringify(value.value)}${value.kind === 'prefix' ? '…' : ''}`;
    });
  return [
    match.rpc === undefined ? match.methods?.join(',') : `rpc ${match.rpc}`,
    match.path,
    ...values(match.query, '?'),
    ...values(match.headers, 'header '),
  ]
    .filter((part) => part !== undefined)
    .join(' ');
}
