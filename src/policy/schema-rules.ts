import { HOST_LOOPBACK, isExactHost, isPrivateLiteral, rangesCover } from './host-entry.ts';
import { PRESETS } from './presets.ts';
import type { IssueFacts } from './schema-leaves.ts';
import { insideShape } from './schema-requests.ts';
import type { AllowObject } from './schema-network.ts';

export type RuleProblem = IssueFacts & { readonly key: keyof AllowObject };

/** What is wrong with a rule as a whole. */
export function* ruleProblems(rule: AllowObject): Generator<RuleProblem> {
  if (rule.port !== undefined && rule.ports !== undefined)
    yield { key: 'port', expected: 'either port or ports' };
  const portless = rule.port === undefined && rule.ports === undefined;
  if (portless && rule.protocol === 'tcp')
    yield { key: 'protocol', expected: 'ports beside protocol tcp', why: 'tcp has no default port' };
  if (rule.host === HOST_LOOPBACK) yield* loopbackProblems(rule, portless);
  if (isPrivateLiteral(rule.host)) yield* privateProblems(rule);
  yield* insideProblems(rule);
  yield* tlsProblems(rule);
  yield* websocketProblems(rule);
  yield* credentialProblems(rule);
  yield* sshProblems(rule);
}

function* privateProblems({ host, private: opened }: AllowObject): Generator<RuleProblem> {
  if (opened === undefined || opened === false)
    yield { key: 'host', expected: 'private: true beside it', why: 'it is a private address' };
  else if (opened !== true && !rangesCover(opened, host))
    yield { key: 'private', expected: `a range that holds ${host}`, why: 'the rule could never be used' };
}

/** The keys of a rule that look inside. */
export function insideKeys(rule: AllowObject): readonly (keyof typeof insideShape)[] {
  const isInside = (key: string): key is keyof typeof insideShape => Object.hasOwn(insideShape, key);
  return Object.entries(rule).flatMap(([key, value]) =>
    value !== undefined && isInside(key) && !(key === 'dlp' && value === false) ? [key] : [],
  );
}

function* insideProblems(rule: AllowObject): Generator<RuleProblem> {
  const { protocol, tls } = rule;
  const opaque = protocol === 'tcp' || protocol === 'ssh';
  const why = opaque ? `${protocol} is opaque` : 'tls: passthrough does not look inside';
  if (!opaque && tls !== 'passthrough') return;
  for (const key of insideKeys(rule)) yield { key, expected: 'a rule that inspects', why };
}

function* tlsProblems(rule: AllowObject): Generator<RuleProblem> {
  const { protocol = 'https', tls } = rule;
  if (tls === 'inspect' && protocol !== 'https')
    yield { key: 'tls', expected: 'protocol: https', why: `there is no TLS in ${protocol}` };
  if (rule.http2 === false && rule.requests?.some((match) => match.rpc !== undefined) === true)
    yield { key: 'http2', expected: 'true', why: 'gRPC is HTTP/2' };
}

/** What these keys refuse in a body would pass in a message that nobody reads. */
function* websocketProblems({
  websocket,
  mcp,
  graphql,
  json = [],
  preset,
}: AllowObject): Generator<RuleProblem> {
  if (websocket !== 'allow') return;
  const byPreset = preset !== undefined && PRESETS[preset].json.length > 0;
  const judging = [
    ...(mcp === undefined ? [] : ['mcp']),
    ...(graphql === undefined ? [] : ['graphql']),
    ...(json.length === 0 ? [] : ['json']),
    ...(byPreset ? [`preset ${preset}`] : []),
  ];
  const [first] = judging;
  if (first !== undefined)
    yield {
      key: 'websocket',
      expected: 'inspect, or deny',
      why: `${first} judges every message, and allow reads none`,
    };
}

function* credentialProblems(rule: AllowObject): Generator<RuleProblem> {
  if (rule.credential !== undefined && rule.pin !== undefined)
    yield { key: 'credential', expected: 'either credential or pin' };
  for (const key of ['credential', 'pin', 'credentials'] as const) {
    if (rule[key] === undefined) continue;
    if (!isExactHost(rule.host)) yield { key, expected: 'one exact host', why: inexactWhy(rule.host) };
    if (rule.protocol === 'http' || (rule.protocol === undefined && rule.port === 80))
      yield { key, expected: 'protocol: https', why: 'http would send the credential in clear' };
  }
}

function* sshProblems(rule: AllowObject): Generator<RuleProblem> {
  if (rule.protocol === 'ssh') {
    if (rule.hostKeys === undefined)
      yield {
        key: 'protocol',
        expected: 'hostKeys beside protocol ssh',
        why: 'without them anybody on the way could answer',
      };
    return;
  }
  for (const key of ['hostKeys', 'keys'] as const)
    if (rule[key] !== undefined) yield { key, expected: 'protocol: ssh beside it' };
}

function* loopbackProblems(rule: AllowObject, portless: boolean): Generator<RuleProblem> {
  if (portless)
    yield {
      key: 'host',
      expected: 'ports beside it',
      why: 'a service on this machine is allowed by its port',
    };
  if (rule.protocol === undefined || rule.protocol === 'ssh')
    yield {
      key: 'host',
      expected: 'protocol: tcp, http or https beside it',
      why: 'what a service on this machine speaks cannot be told from its port',
    };
}

function inexactWhy(host: string): string {
  return host === HOST_LOOPBACK
    ? 'a service on the loopback cannot prove who it is'
    : 'a wildcard could send the credential to a host nobody named';
}
