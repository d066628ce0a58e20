import { formatDuration } from '../units.ts';
import type { PathStep } from '../parse.ts';
import { quoteValue } from '../problems.ts';
import { members, type EgressReader } from './egress-reader.ts';
import { isMapping } from './srt-shapes.ts';

type Path = readonly PathStep[];
type Rule = Record<string, unknown>;

const MATCH_KEYS = ['methods', 'path', 'rpc', 'query', 'header', 'headers', 'websocket', 'encodedSlash'];

/** What one key of a native rule becomes. */
type Apply = (
  value: unknown,
  at: { readonly path: Path; readonly rule: Rule; readonly reader: EgressReader },
) => void;

const copy =
  (name: string): Apply =>
  (value, { rule }) => {
    rule[name] = value;
  };

/** Every key of a native rule. */
const RULE_KEYS: Readonly<Record<string, Apply>> = {
  id: copy('id'),
  host: copy('host'),
  cidr: (value, { rule, path, reader }) => {
    if (rule['host'] === undefined) rule['host'] = value;
    else reader.fail(path, { expected: 'either host or cidr' });
  },
  ports: copy('ports'),
  protocol: (value, { rule, path, reader }) => {
    const protocol = reader.word(value, path, ['https', 'http', 'tcp', 'grpc']);
    rule['protocol'] = protocol === 'grpc' ? 'https' : protocol;
    if (protocol === 'grpc') rule['http2'] = true;
  },
  tls: (value, { rule, path, reader }) => {
    const tls = reader.word(value, path, ['terminate', 'passthrough', 'auto']);
    if (tls === 'terminate') rule['tls'] = 'inspect';
    if (tls === 'passthrough') rule['tls'] = tls;
  },
  http2: copy('http2'),
  allow: readAllow,
  deny: (value, { rule, path, reader }) => {
    rule['refuse'] = reader
      .list(value, path)
      .map((item, i) =>
        matchOf(reader, item, [...path, i], ['methods', 'path', 'rpc', 'query', 'header', 'headers']),
      );
  },
  pin: readPin,
  credentials: copy('credentials'),
  body: readBody,
  requestHeaders: (value, { rule, path, reader }) => {
    const written = reader.mapping(value, path, ['allow']);
    if (written !== undefined) rule['requestHeaders'] = reader.texts(written['allow'], [...path, 'allow']);
  },
  transform: (value, { rule, path, reader }) => {
    const keys = ['setHeaders', 'removeHeaders', 'stripResponseHeaders'];
    for (const [key, member] of members(reader.mapping(value, path, keys) ?? {}, path))
      if (Object.keys(isMapping(member) || Array.isArray(member) ? member : { member }).length > 0)
        rule[key] = member;
  },
  encodedSlash: copy('encodedSlash'),
  websocket: copy('websocket'),
  limits: readLimits,
  dlp: (value, { rule, path, reader }) => {
    if (value === 'off') return;
    if (value === 'default' || typeof value === 'boolean') rule['dlp'] = value !== false;
    else reader.refuse(path, 'there is one set of rules for scanning: default, or off');
  },
  enforcement: (value, { rule, path, reader }) => {
    const word = reader.word(value, path, ['enforce', 'audit']);
    if (word !== undefined) rule['mode'] = word === 'audit' ? 'observe' : 'enforce';
  },
  allowPrivate: (value, { rule, path, reader }) => {
    if (typeof value === 'boolean' || isWithinOwnRange(rule, value)) rule['private'] = value !== false;
    else rule['private'] = reader.texts(value, path);
  },
  allowNoSni: copy('allowNoSni'),
};

/** A native rule as our language writes it. */
export function ruleOf(reader: EgressReader, value: unknown, path: Path): Rule | undefined {
  const written = reader.mapping(value, path, Object.keys(RULE_KEYS));
  if (written === undefined) return undefined;
  const rule: Rule = {};
  // The host stands first: other keys look at it.
  for (const [key, apply] of Object.entries(RULE_KEYS))
    if (Object.hasOwn(written, key)) apply(written[key], { path: [...path, key], rule, reader });
  if (rule['host'] === undefined)
    reader.fail([...path, 'host'], { expected: 'a host', why: 'it is missing' });
  // There a WebSocket passes whatever its messages hold; here what a body may not hold is no message either.
  if (rule['websocket'] === 'allow' && Array.isArray(rule['json']) && rule['json'].length > 0) {
    rule['websocket'] = 'inspect';
    reader.note([...path, 'websocket'], 'its messages are judged as bodies are');
  }
  return rule;
}

/** `allowPrivate: [10.1.2.0/24]` beside `cidr: 10.1.2.0/24` says nothing new. */
function isWithinOwnRange(rule: Rule, value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 && value.every((range) => range === rule['host']);
}

function readAllow(
  value: unknown,
  { path, rule, reader }: { readonly path: Path; readonly rule: Rule; readonly reader: EgressReader },
): void {
  const items = reader.list(value, path);
  if (items.length === 0) {
    reader.fail(path, { found: 'an empty list', expected: 'at least one request' });
    return;
  }
  rule['requests'] = items.map((item, i) => matchOf(reader, item, [...path, i], MATCH_KEYS));
  for (const [i, item] of items.entries()) {
    if (!isMapping(item)) continue;
    for (const key of ['websocket', 'encodedSlash']) {
      if (item[key] === undefined || item[key] === 'deny') continue;
      rule[key] = item[key];
      if (items.length > 1) reader.note([...path, i, key], 'it holds for all requests of the rule here');
    }
  }
  // `{}` and a path that is all of them say the same; a match needs something to compare.
  const all = rule['requests'];
  if (Array.isArray(all) && all.some((item) => isMapping(item) && Object.keys(item).length === 0)) {
    delete rule['requests'];
    rule['tls'] = 'inspect';
  }
}

/** One shape of request; `header` and `headers` are the same. */
export function matchOf(reader: EgressReader, value: unknown, path: Path, known: readonly string[]): Rule {
  const written = reader.mapping(value, path, known) ?? {};
  const match: Rule = {};
  for (const [key, member, at] of members(written, path)) {
    if (key === 'query') match['query'] = valuesOf(reader, member, at);
    else if (key === 'header' || key === 'headers') match['headers'] = valuesOf(reader, member, at);
    else if (key !== 'websocket' && key !== 'encodedSlash') match[key] = member;
  }
  return match;
}

function valuesOf(reader: EgressReader, value: unknown, path: Path): Rule {
  if (!isMapping(value)) {
    reader.fail(path, { found: quoteValue(value), expected: 'a mapping' });
    return {};
  }
  return Object.fromEntries(members(value, path).map(([name, one, at]) => [name, valueOf(reader, one, at)]));
}

/** Text, or `{ exact | startsWith | regex }`. */
export function valueOf(reader: EgressReader, value: unknown, path: Path): unknown {
  if (typeof value === 'string') return value;
  const written = reader.mapping(value, path, ['exact', 'startsWith', 'regex']) ?? {};
  const [first, ...more] = members(written, path);
  if (first === undefined || more.length > 0) {
    reader.fail(path, { found: quoteValue(value), expected: 'text, or one of exact, startsWith and regex' });
    return 'any';
  }
  return { [first[0] === 'startsWith' ? 'prefix' : first[0]]: first[1] };
}

function readPin(
  value: unknown,
  { path, rule, reader }: { readonly path: Path; readonly rule: Rule; readonly reader: EgressReader },
): void {
  const written = reader.mapping(value, path, ['credential', 'require', 'foreign', 'in']);
  if (written === undefined) return;
  if (written['foreign'] !== undefined)
    reader.only(written['foreign'], [...path, 'foreign'], ['deny'], 'a foreign credential is always refused');
  rule['pin'] = {
    credential: written['credential'],
    ...(written['require'] === undefined ? {} : { require: written['require'] }),
    ...(written['in'] === undefined ? {} : { places: written['in'] }),
  };
}

function readBody(
  value: unknown,
  { path, rule, reader }: { readonly path: Path; readonly rule: Rule; readonly reader: EgressReader },
): void {
  const written = reader.mapping(value, path, ['json']);
  if (written?.['json'] === undefined) return;
  const json = reader.mapping(written['json'], [...path, 'json'], ['duplicateKeys', 'deny']) ?? {};
  if (json['duplicateKeys'] !== undefined)
    reader.only(
      json['duplicateKeys'],
      [...path, 'json', 'duplicateKeys'],
      ['deny'],
      'duplicate keys are refused',
    );
  rule['json'] = json['deny'] ?? [];
}

const LIMITS: Readonly<Record<string, readonly ['limits' | 'budget', string]>> = {
  requestsPerMinute: ['limits', 'requestsPerMinute'],
  concurrency: ['limits', 'concurrency'],
  bodyBytes: ['limits', 'body'],
  messageBytes: ['limits', 'body'],
  requestMs: ['limits', 'time'],
  bytesUp: ['budget', 'upload'],
  bytesDown: ['budget', 'download'],
};

/** Rates and sizes of one request are limits; totals are budgets, which need no look inside. */
function readLimits(
  value: unknown,
  { path, rule, reader }: { readonly path: Path; readonly rule: Rule; readonly reader: EgressReader },
): void {
  const opaque = rule['protocol'] === 'tcp' || rule['tls'] === 'passthrough';
  const found: Record<'limits' | 'budget', Rule> = { limits: {}, budget: {} };
  for (const [key, member, at] of members(reader.mapping(value, path, Object.keys(LIMITS)) ?? {}, path)) {
    const [section, name] = LIMITS[key] ?? [undefined, ''];
    const number = reader.number(member, at);
    if (section === undefined || number === undefined) continue;
    if (key === 'messageBytes') reader.note(at, 'it bounds the whole body here, which is stricter');
    const isRate = key === 'requestsPerMinute' || key === 'concurrency';
    found[opaque && isRate ? 'budget' : section][name] =
      key === 'requestMs' ? formatDuration(number) : number;
  }
  for (const section of ['limits', 'budget'] as const)
    if (Object.keys(found[section]).length > 0) rule[section] = found[section];
}
