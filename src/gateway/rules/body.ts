import { selectJson } from '../../net/json-scan-select.ts';
import { tokensOf, valuesOf } from '../../net/http-head.ts';
import type { RawHeaders } from '../../net/http-head.ts';
import type { NetworkRule } from '../../policy/contract.ts';
import type { CompiledRules } from './compile.ts';
import { rulesFor } from './compile.ts';
import type { BodyVerdict, RequestFacts } from './contract.ts';
import { against, firstRefusal, malformed, quoted } from './finding.ts';
import type { Finding } from './finding.ts';
import { judgeGraphqlBody } from './graphql.ts';
import { foldHeader } from './match.ts';
import { judgeMcp } from './mcp.ts';

const MEDIA_TYPE = /^application\/(?:json|[a-z0-9!#$&^_.-]{1,100}\+json)$/i;
const KNOWN_CODINGS: ReadonlySet<string> = new Set(['gzip', 'deflate', 'br', 'zstd', 'compress']);
const PARAMETER = /^([a-z0-9_.-]{1,40})=("[^"\\]{0,100}"|[a-z0-9_./+-]{1,100})$/i;

/** Judges a whole body against the `json`, `mcp` and `graphql` parts of a rule. The body is read as it is sent, not unpacked. */
export function judgeBodyRules(
  rule: NetworkRule,
  facts: RequestFacts & { readonly path: string },
  body: Uint8Array,
): BodyVerdict {
  const rules = rulesFor(rule);
  if (rules !== undefined && 'verdict' in rules) return { refuse: rules.verdict, status: 400 };
  if (rules === undefined || !rules.readsBody || body.length === 0) return {};
  const unreadable = judgeForm(rule, facts);
  // What is no JSON cannot be judged further, also by a rule that only observes.
  if (unreadable !== undefined) return verdictOf(rules, [() => unreadable]);
  const { headers } = facts;
  return verdictOf(rules, contentJudgements(rule, rules, { kind: 'body', headers }, body));
}

/**
 * Judges one whole message of a WebSocket as a body is judged. Text and binary alike, for origins take both; a message has no type, so
 * what is no JSON is refused.
 */
export function judgeMessageRules(rule: NetworkRule, message: Uint8Array): BodyVerdict {
  const rules = rulesFor(rule);
  if (rules !== undefined && 'verdict' in rules) return { refuse: rules.verdict, status: 400 };
  if (rules === undefined || !rules.readsBody) return {};
  return verdictOf(rules, contentJudgements(rule, rules, { kind: 'message', headers: [] }, message));
}

function verdictOf(rules: CompiledRules, judgements: readonly (() => Finding | undefined)[]): BodyVerdict {
  const { refuse, ...observed } = firstRefusal(rules.observe, judgements);
  if (refuse === undefined) return observed;
  return { refuse: refuse.verdict, status: refuse.status === 400 ? 400 : 403 };
}

/** The body must be JSON in the clear. */
function judgeForm(rule: NetworkRule, facts: RequestFacts): Finding | undefined {
  const alike = facts.headers.find((name, i) => i % 2 === 0 && isLookAlike(name));
  if (alike !== undefined)
    return malformed(rule, {
      part: '.body',
      reason: `the header ${quoted(alike)} says at some origins what the body is, and the rule reads it`,
    });
  const coding = tokensOf(facts.headers, 'content-encoding').find((token) => token !== 'identity');
  if (coding !== undefined)
    return against(rule, {
      part: '.body',
      reason: `${rule.id} has to read the body, which is packed${KNOWN_CODINGS.has(coding) ? ` with ${coding}` : ''}`,
      remedy: 'send the body without Content-Encoding',
    });
  const types = valuesOf(facts.headers, 'content-type');
  const [type] = types;
  if (types.length === 1 && type !== undefined && isJsonType(type)) return undefined;
  return against(rule, {
    part: '.body',
    reason: `${rule.id} has to read the body as JSON, and its type is ${type === undefined ? 'not given' : 'another'}`,
    remedy: 'send JSON as application/json',
  });
}

/** What decides how a body is read, in a spelling that only some origins take for it (RFC 3875 §4.1.18). */
function isLookAlike(name: string): boolean {
  return name.includes('_') && /^content-(?:type|encoding)$/.test(foldHeader(name));
}

/** RFC 8259 §11 has no charset; who sends one must mean UTF-8, for a reader that believed another would see other names. */
function isJsonType(value: string): boolean {
  const [type = '', ...parameters] = value.split(';').map((part) => part.trim());
  if (!MEDIA_TYPE.test(type)) return false;
  return parameters.every((parameter) => {
    const [, name = '', text = ''] = PARAMETER.exec(parameter) ?? [];
    return name !== '' && (name.toLowerCase() !== 'charset' || /^"?utf-?8"?$/i.test(text));
  });
}

/** What is read, and the headers that came with this very body. */
interface Content {
  readonly kind: 'body' | 'message';
  readonly headers: RawHeaders;
}

function contentJudgements(
  rule: NetworkRule,
  rules: CompiledRules,
  { kind, headers }: Content,
  body: Uint8Array,
): (() => Finding | undefined)[] {
  const { json, mcp, graphql } = rules.policy;
  return [
    () => (json === undefined ? undefined : judgeJson(rule, rules, body, kind)),
    () => (mcp === undefined ? undefined : judgeMcp(rule, mcp, headers, body)),
    () => (graphql === undefined ? undefined : judgeGraphqlBody(rule, graphql, body, kind)),
  ];
}

function judgeJson(
  rule: NetworkRule,
  rules: CompiledRules,
  body: Uint8Array,
  kind: Content['kind'],
): Finding | undefined {
  let hit: number | undefined;
  const selectors = rules.json.map((one) => one.selector);
  const scan = selectJson(body, selectors, (index, value) => {
    if (hit === undefined && rules.json[index]?.test(value) === true) hit = index;
  });
  if (!scan.ok) return malformed(rule, { part: '.json', reason: `the ${kind} is refused: ${scan.why}` });
  return hit === undefined ? undefined : jsonFinding(rule, rules, hit, kind);
}

/** Names the place and the policy's own words: a record holds no value of a body. */
function jsonFinding(rule: NetworkRule, rules: CompiledRules, index: number, kind: Content['kind']): Finding {
  const place = quoted(rules.json[index]?.selector.text ?? '');
  const match = rules.policy.json?.[index]?.match ?? { kind: 'any' };
  const values = match.kind === 'any' ? '' : match.values.map(quoted).join(' or ');
  const what = { any: '', equals: ` with the value ${values}`, prefix: ` that begins with ${values}` }[
    match.kind
  ];
  return against(rule, {
    part: `.json[${index}]`,
    reason: `${rule.id} refuses ${place}${what} in the ${kind}`,
    remedy: `change \`json\` of ${rule.id} in the policy, or its preset`,
  });
}
