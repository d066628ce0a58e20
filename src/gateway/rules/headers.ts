import type { RequestPolicy } from '../../policy/contract.ts';
import type { RequestFacts } from './contract.ts';
import type { CompiledRules } from './compile.ts';
import { foldHeader } from './match.ts';

/** Host and framing are rewritten by whoever sends the request; a list that left them out would say nothing. */
const ALWAYS: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'expect',
]);

/** Headers by which some origins and proxies serve another path than the one in the request line. */
const REROUTE_PATH: ReadonlySet<string> = new Set([
  'x-original-url',
  'x-original-uri',
  'x-original-path',
  'x-rewrite-url',
  'x-override-url',
  'x-forwarded-path',
  'x-forwarded-uri',
  'x-forwarded-url',
  'x-forwarded-prefix',
  'x-envoy-original-path',
  'x-http-path-override',
  'x-http-destinationurl',
  'x-proxy-url',
]);

/** Headers by which some serve another host, or believe in another client; nothing in a sandbox is a proxy. */
const REROUTE_HOST: ReadonlySet<string> = new Set([
  'forwarded',
  'x-forwarded-host',
  'x-forwarded-server',
  'x-forwarded-for',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-host',
  'x-http-host-override',
  'x-original-host',
  'x-real-ip',
  'x-middleware-subrequest',
]);

/**
 * The headers that go on: stripped, replaced and set as the rule says. Order and duplicates of the rest are kept.
 * A list holds the headers of the rule's credentials already (policy/credential-rules.ts).
 */
export function outgoingHeaders(rules: CompiledRules, facts: RequestFacts): string[] {
  const { policy } = rules;
  const { listed, dropped } = namesOf(policy);
  const out: string[] = [];
  for (let i = 0; i + 1 < facts.headers.length; i += 2) {
    const name = facts.headers[i] ?? '';
    const key = name.toLowerCase();
    const folded = foldHeader(name);
    if (dropped.has(folded) && !ALWAYS.has(folded)) continue;
    if (listed?.has(key) !== true && reroutes(rules, folded)) continue;
    if (listed !== undefined && !listed.has(key) && !passesAlways(rules, facts, key)) continue;
    out.push(name, facts.headers[i + 1] ?? '');
  }
  for (const [name, value] of Object.entries(policy.setHeaders))
    if (!ALWAYS.has(foldHeader(name))) out.push(name, value);
  return out;
}

interface HeaderNames {
  readonly listed: ReadonlySet<string> | undefined;
  readonly dropped: ReadonlySet<string>;
}

const NAMES = new WeakMap<RequestPolicy, HeaderNames>();

function namesOf(policy: RequestPolicy): HeaderNames {
  const known = NAMES.get(policy);
  if (known !== undefined) return known;
  const made = {
    listed: policy.requestHeaders === undefined ? undefined : new Set(policy.requestHeaders),
    dropped: new Set([...policy.removeHeaders, ...Object.keys(policy.setHeaders)].map(foldHeader)),
  };
  NAMES.set(policy, made);
  return made;
}

function reroutes(rules: CompiledRules, folded: string): boolean {
  if (rules.pathsRuled && REROUTE_PATH.has(folded)) return true;
  return (rules.allow !== undefined || rules.refuse.length > 0) && REROUTE_HOST.has(folded);
}

function passesAlways(rules: CompiledRules, facts: RequestFacts, key: string): boolean {
  if (ALWAYS.has(key)) return true;
  if (facts.websocket && key.startsWith('sec-websocket-')) return true;
  // It was judged, and the body means nothing without it.
  return (
    key === 'content-type' &&
    (rules.readsBody || rules.allow?.some((match) => match.rpc !== undefined) === true)
  );
}
