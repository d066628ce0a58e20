import {
  GRAPHQL_PARAMETERS,
  readGraphqlBody,
  readGraphqlMessage,
  readGraphqlQuery,
} from '../../net/graphql-scan-request.ts';
import type { GraphqlOperation } from '../../net/graphql-scan.ts';
import { foldName } from '../../net/http-query.ts';
import type { GraphqlRules, NetworkRule } from '../../policy/contract.ts';
import type { CompiledRules } from './compile.ts';
import { against, malformed, quoted } from './finding.ts';
import type { Finding } from './finding.ts';
import type { RequestView } from './match.ts';
import { isListed } from './names.ts';

/** Asks nothing of the data, only for the name of a type; clients add it everywhere. */
const ALWAYS_FIELD = '__typename';

/** Names by which a query string would change what a POST runs: express-graphql takes them before those of the body. */
const OVERRIDES: readonly string[] = [...GRAPHQL_PARAMETERS, 'documentId'].map(foldName);

/** Judges a GraphQL request that stands in the query string. */
export function judgeGraphqlQuery(
  rule: NetworkRule,
  rules: CompiledRules,
  view: RequestView,
): Finding | undefined {
  const { graphql } = rules.policy;
  if (graphql === undefined) return undefined;
  if (view.method !== 'GET' && view.method !== 'HEAD') {
    const overridden = view.loose().some(({ names }) => OVERRIDES.some((one) => names.has(one)));
    const reason = `a ${view.method} of GraphQL has its query in the body, not in the address`;
    return overridden ? malformed(rule, { part: '.graphql', reason }) : undefined;
  }
  const read = readGraphqlQuery(view.rawQuery);
  if (read === undefined) return undefined;
  if (!read.ok) return malformed(rule, { part: '.graphql', reason: `the request is ${read.why}` });
  return judgeOperations(rule, graphql, read.operations);
}

/** Judges a body, or a message of a WebSocket. */
export function judgeGraphqlBody(
  rule: NetworkRule,
  graphql: GraphqlRules,
  body: Uint8Array,
  kind: 'body' | 'message',
): Finding | undefined {
  const read = kind === 'body' ? readGraphqlBody(body) : readGraphqlMessage(body);
  if (!read.ok) return malformed(rule, { part: '.graphql', reason: `the ${kind} is ${read.why}` });
  return judgeOperations(rule, graphql, read.operations);
}

function judgeOperations(
  rule: NetworkRule,
  graphql: GraphqlRules,
  operations: readonly GraphqlOperation[],
): Finding | undefined {
  for (const { type, fields } of operations) {
    if (!graphql.types.includes(type))
      return against(rule, {
        part: '.graphql.types',
        reason: `${rule.id} does not allow a GraphQL ${type}`,
        remedy: `add \`${type}\` to \`graphql.types\` of ${rule.id} in the policy`,
      });
    const field = fields.find((name) => name !== ALWAYS_FIELD && !isListed(graphql.fields, name));
    if (field !== undefined)
      return against(rule, {
        part: '.graphql.fields',
        reason: `${rule.id} does not allow the GraphQL field ${quoted(field)}`,
        remedy: `add \`${field.slice(0, 128)}\` to \`graphql.fields\` of ${rule.id} in the policy`,
      });
  }
  return undefined;
}
