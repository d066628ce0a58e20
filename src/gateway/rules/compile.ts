import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { parseRpc } from '../../net/grpc.ts';
import { foldCase } from '../../net/http-path-case.ts';
import { parsePathGlob } from '../../net/http-path-glob.ts';
import { parseJsonSelector } from '../../net/json-scan-select.ts';
import type { JsonSelector } from '../../net/json-scan-select.ts';
import type { JsonValue } from '../../net/json-scan.ts';
import { compileLinearRegex } from '../../net/linear-regex.ts';
import type {
  JsonDeny,
  NetworkRule,
  RequestMatch,
  RequestPolicy,
  ValueMatch,
} from '../../policy/contract.ts';
import { printable } from '../decide.ts';
import { malformed } from './finding.ts';
import type { Finding } from './finding.ts';
import { foldHeader } from './match.ts';
import type { CompiledMatch, NamedTest } from './match.ts';

/** What a rule says about requests, ready to judge. */
export interface CompiledRules {
  readonly policy: RequestPolicy;
  readonly observe: boolean;
  readonly allow: readonly CompiledMatch[] | undefined;
  readonly refuse: readonly CompiledMatch[];
  /** Some match names methods: overriding them by header or query must not work. */
  readonly methodsRuled: boolean;
  /** Some match names paths: every path must be canonical. */
  readonly pathsRuled: boolean;
  readonly queryRuled: ReadonlySet<string>;
  readonly headersRuled: ReadonlySet<string>;
  readonly headersFolded: ReadonlySet<string>;
  readonly readsBody: boolean;
  readonly json: readonly CompiledJson[];
}

/** A `json` entry: a value at `selector` that passes `test` is refused. */
export interface CompiledJson {
  readonly selector: JsonSelector;
  readonly test: (value: JsonValue) => boolean;
}

/** Compiled once for each rule; a policy that is replaced takes its entries with it. */
const COMPILED = new WeakMap<RequestPolicy, CompiledRules>();

/**
 * The compiled rules; undefined when the rule says nothing about requests. Throws E_POLICY_INVALID for a pattern that cannot be
 * compared: whoever puts a policy in force calls this once for each rule, so that no request meets the error.
 */
export function rulesOf(rule: NetworkRule): CompiledRules | undefined {
  const { requests } = rule;
  if (requests === undefined) return undefined;
  const known = COMPILED.get(requests);
  if (known !== undefined) return known;
  const compiled = compile(rule.id, requests);
  COMPILED.set(requests, compiled);
  return compiled;
}

/** As `rulesOf`; a pattern that cannot be compared refuses every request of its rule. */
export function rulesFor(rule: NetworkRule): CompiledRules | Finding | undefined {
  try {
    return rulesOf(rule);
  } catch (error) {
    if (!isGloveboxError(error)) throw error;
    const remedy = 'correct the policy; `glovebox policy check` shows every problem at once';
    return malformed(rule, { part: '.policy', reason: error.message, remedy });
  }
}

function compile(id: string, policy: RequestPolicy): CompiledRules {
  const matches = [...(policy.allow ?? []), ...policy.refuse];
  const named = (part: 'query' | 'headers'): Set<string> =>
    new Set(matches.flatMap((match) => Object.keys(match[part] ?? {})));
  return {
    policy,
    observe: policy.enforcement === 'observe',
    allow: policy.allow?.map((match) => compileMatch(id, match, 'allow')),
    refuse: policy.refuse.map((match) => compileMatch(id, match, 'deny')),
    methodsRuled: matches.some((match) => match.methods !== undefined || match.rpc !== undefined),
    pathsRuled: matches.some((match) => match.path !== undefined || match.rpc !== undefined),
    queryRuled: named('query'),
    headersRuled: named('headers'),
    headersFolded: new Set([...named('headers')].map(foldHeader)),
    json: (policy.json ?? []).map((one) => compileJson(id, one)),
    readsBody: policy.json !== undefined || policy.mcp !== undefined || policy.graphql !== undefined,
  };
}

function compileMatch(id: string, match: RequestMatch, use: 'allow' | 'deny'): CompiledMatch {
  const path = match.path === undefined ? undefined : parsePathGlob(match.path, use);
  if (path?.ok === false) throw invalid(id, `the path "${printable(match.path ?? '')}"`, path.why);
  const rpc = match.rpc === undefined ? undefined : parseRpc(match.rpc);
  if (rpc?.ok === false) throw invalid(id, `the rpc "${printable(match.rpc ?? '')}"`, rpc.why);
  return {
    source: match,
    methods: match.methods === undefined ? undefined : new Set(match.methods),
    path: path?.glob,
    rpc: rpc?.rpc,
    query: compileNamed(id, match.query),
    headers: compileNamed(id, match.headers),
  };
}

function compileNamed(id: string, named: Readonly<Record<string, ValueMatch>> = {}): NamedTest[] {
  return Object.entries(named).map(([name, match]) => ({ name, test: compileValue(id, match) }));
}

function compileValue(id: string, match: ValueMatch): (value: string) => boolean {
  if (match.kind === 'any') return () => true;
  if (match.kind === 'exact') return (value) => value === match.value;
  if (match.kind === 'prefix') return (value) => value.startsWith(match.value);
  const compiled = compileLinearRegex(match.pattern);
  if (!compiled.ok) throw invalid(id, `the pattern "${printable(match.pattern)}"`, compiled.why);
  return (value) => compiled.regex.test(value);
}

function compileJson(id: string, deny: JsonDeny): CompiledJson {
  const parsed = parseJsonSelector(deny.path);
  if (!parsed.ok) throw invalid(id, `the selector "${printable(deny.path)}"`, parsed.why);
  const { match } = deny;
  if (match.kind === 'any') return { selector: parsed.selector, test: () => true };
  const wanted = match.values.map(foldText);
  const longest = Math.max(...match.values.map((value) => value.length));
  const fits = (text: string): boolean => {
    // An image of some MiB stands where a URL may stand: only its beginning is compared.
    const room = 4 * longest + BLANKS_MAX;
    const read = foldText(text.slice(0, room));
    if (match.kind === 'equals' && text.length > room) return false;
    return wanted.some((value) => (match.kind === 'equals' ? read === value : read.startsWith(value)));
  };
  return { selector: parsed.selector, test: (value) => 'text' in value && fits(value.text) };
}

/** Blanks before a value that is compared by its beginning. */
const BLANKS_MAX = 4096;

/** Readers of URLs fold the scheme, drop blanks around it and line breaks within (WHATWG URL §4.4). */
function foldText(text: string): string {
  return foldCase(text.replace(/[\t\r\n]/g, '').replace(/^[\0-\x20]+/, '')).trimEnd();
}

/** The policy room refuses this earlier; a condition that were skipped here would be a hole. */
export function invalid(id: string, what: string, why: string): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', { what: `${id} names ${what}`, why });
}
