import type { NetworkRule, RequestMatch } from '../../policy/contract.ts';
import type { CompiledRules } from './compile.ts';
import { against, quoted } from './finding.ts';
import type { Finding } from './finding.ts';
import { PARTS, isHit, missedPart } from './match.ts';
import type { Part, RequestView } from './match.ts';

/** The first `refuse` match that hits. */
export function judgeRefuse(rule: NetworkRule, rules: CompiledRules, view: RequestView): Finding | undefined {
  const index = rules.refuse.findIndex((match) => isHit(match, view));
  const hit = rules.refuse[index];
  if (hit === undefined) return undefined;
  return against(rule, {
    part: `.refuse[${index}]`,
    reason: `${rule.id} refuses ${describe(hit.source)}`,
    remedy: `a refusal wins over what is allowed: change \`refuse\` of ${rule.id} in the policy, or its preset`,
  });
}

/** Nothing, when one of the `allow` matches holds or there are none at all; else the part that the nearest one misses. */
export function judgeAllow(rule: NetworkRule, rules: CompiledRules, view: RequestView): Finding | undefined {
  if (rules.allow === undefined) return undefined;
  let nearest: Part | undefined;
  const methods = new Set<string>();
  for (const match of rules.allow) {
    const missed = missedPart(match, view);
    if (missed === undefined) return undefined;
    if (missed === 'methods') for (const method of match.methods ?? []) methods.add(method);
    if (nearest === undefined || PARTS.indexOf(missed) > PARTS.indexOf(nearest)) nearest = missed;
  }
  return against(rule, {
    part: nearest === undefined ? '.allow' : SUFFIX[nearest],
    reason: reasonOf(rule, nearest, view),
    remedy: `add \`${lineFor(nearest, view)}\` under \`requests\` of ${rule.id} in the policy`,
    ...(nearest === 'methods' ? { status: 405, methods: [...methods] } : {}),
  });
}

const SUFFIX: Readonly<Record<Part, string>> = {
  path: '.paths',
  rpc: '.rpc',
  methods: '.methods',
  query: '.query',
  headers: '.headers',
};

function reasonOf(rule: NetworkRule, missed: Part | undefined, view: RequestView): string {
  const what = `${view.method} ${quoted(view.path)}`;
  if (missed === 'methods') return `${rule.id} allows the path ${quoted(view.path)}, but not ${view.method}`;
  if (missed === 'query') return `${rule.id} allows ${what} only with other query parameters`;
  if (missed === 'headers') return `${rule.id} allows ${what} only with other headers`;
  if (missed === 'rpc') return `${rule.id} does not allow the gRPC call ${quoted(view.path)}`;
  return `${rule.id} does not allow ${what}`;
}

/** The line of a policy that would allow the request. */
function lineFor(missed: Part | undefined, view: RequestView): string {
  if (missed === 'rpc') return `- { rpc: ${JSON.stringify(pattern(view.path).slice(1))} }`;
  return `- { methods: [${view.method}], path: ${JSON.stringify(pattern(view.path))} }`;
}

/** Patterns hold no escapes: a segment with one is allowed as a whole. */
function pattern(path: string): string {
  return path
    .slice(0, 256)
    .split('/')
    .map((segment) => (/[^A-Za-z0-9\-._~!$&'()+,=:@]/.test(segment) ? '*' : segment))
    .join('/');
}

/** A match in words. */
function describe(match: RequestMatch): string {
  const words: string[] = [];
  if (match.methods !== undefined) words.push(match.methods.join(', '));
  if (match.path !== undefined) words.push(`the path ${quoted(match.path)}`);
  if (match.rpc !== undefined) words.push(`the gRPC call ${quoted(match.rpc)}`);
  for (const name of Object.keys(match.query ?? {})) words.push(`the query parameter ${quoted(name)}`);
  for (const name of Object.keys(match.headers ?? {})) words.push(`the header ${quoted(name)}`);
  return words.length === 0 ? 'every request' : words.join(' with ');
}
