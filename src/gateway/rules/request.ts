import { canonicalPath } from '../../net/http-path.ts';
import { foldName, looseQuery, queryNames, readQuery } from '../../net/http-query.ts';
import type { NetworkRule } from '../../policy/contract.ts';
import { judgeAllow, judgeRefuse } from './allow.ts';
import type { CompiledRules } from './compile.ts';
import { rulesFor } from './compile.ts';
import type { RequestFacts, RulesVerdict } from './contract.ts';
import { against, firstRefusal, malformed, quoted, shownPath } from './finding.ts';
import type { Finding } from './finding.ts';
import { judgeGraphqlQuery } from './graphql.ts';
import { outgoingHeaders } from './headers.ts';
import { foldHeader } from './match.ts';
import type { RequestView } from './match.ts';

/** Headers and query parameters that make frameworks take another method than the one in the request line. */
const METHOD_OVERRIDES: ReadonlySet<string> = new Set([
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  'x-original-method',
  'x-forwarded-method',
]);
const METHOD_PARAMETERS: readonly string[] = ['_method', '$httpMethod', ...METHOD_OVERRIDES].map(foldName);

/** Headers that name a second path, or another place to take the content from (RFC 4918 §10.3; S3 CopyObject and its like; Swift). */
const SECOND_PATH = /^(?:destination|x-copy-from|x-symlink-target|x-[a-z]+-(?:copy|rename)-source)$/;

/** A body with these has no meaning (RFC 9110 §9.3): some origins ignore it and read it as the next request. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE']);

/** Judges the head of one request against its rule: `refuse` first, then `allow`. Nothing is repaired; what is ambiguous is refused. */
export function judgeRequestRules(rule: NetworkRule, facts: RequestFacts): RulesVerdict {
  const { path: rawPath, query } = splitTarget(facts.target);
  const names = queryNames(query);
  const rules = rulesFor(rule);
  if (rules === undefined)
    return { state: 'pass', path: rawPath, queryNames: names, headers: [...facts.headers], needsBody: false };
  if ('verdict' in rules) return refusal(rules, rawPath, names);
  const read = readView(rule, rules, facts);
  if ('verdict' in read) return refusal(read, rawPath, names);
  const { refuse, wouldDeny } = firstRefusal(rules.observe, [
    () => judgeRefuse(rule, rules, read),
    () => judgeAllow(rule, rules, read),
    () => overriddenMethod(rule, rules, read),
    () => secondPath(rule, rules, read),
    () => unexpectedBody(rule, rules, facts),
    () => judgeGraphqlQuery(rule, rules, read),
  ]);
  if (refuse !== undefined) return refusal(refuse, read.path, names);
  const passed = {
    state: 'pass',
    path: read.path,
    queryNames: names,
    headers: outgoingHeaders(rules, facts),
    needsBody: rules.readsBody && facts.hasBody,
  } as const;
  return wouldDeny === undefined ? passed : { ...passed, wouldDeny };
}

function refusal(found: Finding, path: string, names: readonly string[]): RulesVerdict {
  return {
    state: 'refuse',
    status: found.status,
    verdict: found.verdict,
    path: shownPath(path),
    queryNames: names,
  };
}

/** Path and query of a target, as they came. */
export function splitTarget(target: string): { readonly path: string; readonly query: string } {
  const at = target.indexOf('?');
  return at < 0 ? { path: target, query: '' } : { path: target.slice(0, at), query: target.slice(at + 1) };
}

/** The request in the form that matches compare, or why it has none. */
function readView(rule: NetworkRule, rules: CompiledRules, facts: RequestFacts): RequestView | Finding {
  const asterisk = facts.target === '*' && facts.method === 'OPTIONS';
  if (!asterisk && !/^\/[\x21\x22\x24-\x7e]*$/.test(facts.target))
    return malformed(rule, { part: '.target', reason: 'the request target is not a plain path' });
  if (facts.websocket && rules.policy.websocket === 'deny') return noWebSocket(rule);
  const lookAlike = lookAlikeHeader(rule, rules, facts);
  if (lookAlike !== undefined) return lookAlike;
  const { path: rawPath, query: rawQuery } = splitTarget(facts.target);
  const path = canonicalPath(rawPath, rules.policy.encodedSlash);
  if (!path.ok && rules.pathsRuled)
    return malformed(rule, {
      part: '.paths',
      reason: `the rule is about paths and the request has ${path.why}`,
    });
  const query = rules.queryRuled.size > 0 ? readQuery(rawQuery, rules.queryRuled) : NO_QUERY;
  if (!query.ok)
    return malformed(rule, {
      part: '.query',
      reason: `the rule is about query parameters and the request has ${query.why}`,
    });
  return {
    method: facts.method,
    path: path.ok ? path.path : rawPath,
    headers: facts.headers,
    query: query.parameters,
    rawQuery,
    loose: once(() => looseQuery(rawQuery)),
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

const NO_QUERY = { ok: true, parameters: [] } as const;

function noWebSocket(rule: NetworkRule): Finding {
  const said = {
    part: '.websocket',
    reason: `${rule.id} allows no WebSocket`,
    remedy: `add \`websocket: inspect\` (or \`allow\`) to ${rule.id} in the policy`,
  };
  // Observing lifts what requests are compared with, not what a connection turns into.
  return { ...against(rule, said), structural: true };
}

function lookAlikeHeader(rule: NetworkRule, rules: CompiledRules, facts: RequestFacts): Finding | undefined {
  if (rules.headersRuled.size === 0) return undefined;
  for (let i = 0; i < facts.headers.length; i += 2) {
    const name = (facts.headers[i] ?? '').toLowerCase();
    const folded = foldHeader(name);
    if (rules.headersRuled.has(name) || !rules.headersFolded.has(folded)) continue;
    const reason = `the header ${quoted(name)} reads as ${folded} at some origins, and the rule is about that one`;
    return malformed(rule, { part: '.headers', reason });
  }
  return undefined;
}

function overriddenMethod(rule: NetworkRule, rules: CompiledRules, view: RequestView): Finding | undefined {
  // On a pinned host an override may also turn a body into parameters, where a key may stand.
  if (!rules.methodsRuled && rules.policy.pin === undefined) return undefined;
  const header = view.headers.find((name, i) => i % 2 === 0 && METHOD_OVERRIDES.has(foldHeader(name)));
  if (header !== undefined)
    return against(rule, {
      part: '.methods',
      reason: `the header ${quoted(header)} would change the method that ${rule.id} judges`,
      remedy: 'send the request with the method that is meant',
    });
  const found = view.loose().some(({ names }) => METHOD_PARAMETERS.some((one) => names.has(one)));
  if (!found) return undefined;
  return against(rule, {
    part: '.methods',
    reason: `a query parameter such as _method would change the method that ${rule.id} judges`,
    remedy: 'send the request with the method that is meant',
  });
}

/** A path that no match is compared with: the rule has to name its header, or it would be a way round the rule. */
function secondPath(rule: NetworkRule, rules: CompiledRules, view: RequestView): Finding | undefined {
  if (!rules.pathsRuled) return undefined;
  const header = view.headers.find((name, i) => i % 2 === 0 && SECOND_PATH.test(foldHeader(name)));
  if (header === undefined) return undefined;
  const key = header.toLowerCase();
  if (rules.headersRuled.has(key) || rules.policy.requestHeaders?.includes(key) === true) return undefined;
  return against(rule, {
    part: '.paths',
    reason: `the header ${quoted(header)} names a second path, and ${rule.id} restricts paths`,
    remedy: `say under \`headers\` of a request of ${rule.id} which values it may have`,
  });
}

function unexpectedBody(rule: NetworkRule, rules: CompiledRules, facts: RequestFacts): Finding | undefined {
  if (!facts.hasBody || !BODILESS.has(facts.method) || !(rules.methodsRuled || rules.pathsRuled))
    return undefined;
  return against(rule, {
    part: '.body',
    reason: `a ${facts.method} with a body is an upload, or a second request in disguise`,
    remedy: 'send the body with POST, PUT or PATCH, and allow that method',
  });
}
