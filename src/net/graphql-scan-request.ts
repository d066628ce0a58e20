import { chooseOperation, readGraphql } from './graphql-scan.ts';
import type { GraphqlOperation } from './graphql-scan.ts';
import { readEnvelopes } from './json-scan-envelope.ts';
import type { Envelope } from './json-scan-envelope.ts';

/** The operations that a request runs: one, or one for each member of a batch. */
export type GraphqlRequestResult =
  | { readonly ok: true; readonly operations: readonly GraphqlOperation[] }
  | { readonly ok: false; readonly why: string };

/** All that GraphQL over HTTP puts into a request; anything else (`id`, `documentId`, `doc_id`) names a query that is not here. */
export const GRAPHQL_PARAMETERS: readonly string[] = ['query', 'operationName', 'variables', 'extensions'];
const WANTED = [...GRAPHQL_PARAMETERS, 'extensions.persistedQuery'];

/** Reads the JSON body of a request (GraphQL over HTTP, §6.2): one request or a batch. */
export function readGraphqlBody(bytes: Uint8Array): GraphqlRequestResult {
  const read = readEnvelopes(bytes, WANTED);
  if (!read.ok) return read;
  if (read.envelopes.length === 0) return no('an empty batch');
  const operations: GraphqlOperation[] = [];
  for (const envelope of read.envelopes) {
    const one = readOne(envelope);
    if ('why' in one) return no(one.why);
    operations.push(one);
  }
  return { ok: true, operations };
}

const MESSAGE_WANTED = ['type', 'id', 'payload', ...WANTED.map((name) => `payload.${name}`)];
/** Of both protocols in use: graphql-transport-ws and the older graphql-ws (subscriptions-transport-ws). */
const STARTS: ReadonlySet<string> = new Set(['subscribe', 'start']);
const OTHERS: ReadonlySet<string> = new Set([
  'connection_init',
  'ping',
  'pong',
  'complete',
  'stop',
  'connection_terminate',
  'ka',
]);

/** Reads one message of a client over WebSocket: the operation that it starts, or none. */
export function readGraphqlMessage(bytes: Uint8Array): GraphqlRequestResult {
  const read = readEnvelopes(bytes, MESSAGE_WANTED);
  if (!read.ok) return read;
  const [envelope] = read.envelopes;
  if (read.batch || envelope === undefined || envelope.others) return no('a message of another form');
  const { values } = envelope;
  const type = values.get('type');
  const kind = type?.kind === 'string' ? type.text : '';
  if (OTHERS.has(kind)) return { ok: true, operations: [] };
  if (!STARTS.has(kind)) return no('a message of an unknown type');
  const payload = new Map(
    WANTED.flatMap((name) => {
      const value = values.get(`payload.${name}`);
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
  const one = readOne({ values: payload, others: envelope.othersIn.has('payload') });
  return 'why' in one ? no(one.why) : { ok: true, operations: [one] };
}

/** Reads the parameters of a GET; undefined when the query string asks for nothing at all. */
export function readGraphqlQuery(text: string): GraphqlRequestResult | undefined {
  // URLSearchParams is the parser of application/x-www-form-urlencoded that servers agree on for "+" and escapes.
  const parameters = [...new URLSearchParams(text)];
  if (parameters.length === 0) return undefined;
  const found = new Map<string, string>();
  for (const [name, value] of parameters) {
    if (!GRAPHQL_PARAMETERS.includes(name)) return no('a query parameter that GraphQL does not know');
    if (found.has(name)) return no('a query parameter that occurs twice');
    found.set(name, value);
  }
  const extensions = found.get('extensions');
  if (extensions !== undefined && !isPlain(extensions)) return no('extensions that name a persisted query');
  const one = choose(found.get('query'), found.get('operationName'));
  return 'why' in one ? no(one.why) : { ok: true, operations: [one] };
}

/** True for an object without a persisted query in it. */
function isPlain(extensions: string): boolean {
  const read = readEnvelopes(Buffer.from(extensions), ['persistedQuery']);
  return read.ok && !read.batch && read.envelopes[0]?.values.size === 0;
}

function readOne({
  values,
  others,
}: Pick<Envelope, 'values' | 'others'>): GraphqlOperation | { readonly why: string } {
  if (others) return { why: 'a member that GraphQL over HTTP does not know' };
  if (values.has('extensions.persistedQuery')) return { why: 'a persisted query' };
  const query = values.get('query');
  if (query?.kind !== 'string') return { why: 'no query text: a persisted query cannot be judged' };
  const name = values.get('operationName');
  if (name === undefined || (name.kind === 'literal' && name.text === 'null'))
    return choose(query.text, undefined);
  return name.kind === 'string'
    ? choose(query.text, name.text)
    : { why: 'an operationName that is no string' };
}

function choose(
  query: string | undefined,
  name: string | undefined,
): GraphqlOperation | { readonly why: string } {
  if (query === undefined) return { why: 'no query text: a persisted query cannot be judged' };
  const read = readGraphql(query);
  if (!read.ok) return read;
  const operation = chooseOperation(read.operations, name);
  return operation ?? { why: 'an operationName that chooses no operation' };
}

function no(why: string): GraphqlRequestResult {
  return { ok: false, why: why.startsWith('a GraphQL') ? why : `a GraphQL request with ${why}` };
}
