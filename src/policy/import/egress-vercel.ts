import { parseHostEntry } from '../host-entry.ts';
import type { PathStep } from '../parse.ts';
import { quoteValue } from '../problems.ts';
import { allowHosts, type EgressOutput } from './egress-hosts.ts';
import { members, type EgressReader } from './egress-reader.ts';
import { valueOf } from './egress-rules.ts';
import { isMapping } from './srt-shapes.ts';

type Path = readonly PathStep[];
type Written = Record<string, unknown>;

interface DomainRules {
  readonly host: string;
  readonly rules: unknown;
  readonly path: Path;
  /** Keys that one rule may have. */
  readonly keys: readonly string[];
}

/** The rules of one domain: what `match` names passes, `transform` sets headers on the way out. */
export function vercelRules(reader: EgressReader, out: EgressOutput, domain: DomainRules): void {
  const { host, path } = domain;
  const entry = parseHostEntry(host, 'allow');
  const items = reader.list(domain.rules, path, 'a list of rules');
  if (items.length === 0 || !entry.ok) {
    allowHosts(reader, out, [host], path);
    return;
  }
  const requests: Written[] = [];
  const headers: Written[] = [];
  for (const [i, item] of items.entries()) {
    const at = [...path, i];
    const rule = reader.mapping(item, at, domain.keys) ?? {};
    if (rule['forwardURL'] !== undefined)
      reader.refuse([...at, 'forwardURL'], 'traffic is not handed to another server');
    if (rule['match'] !== undefined) requests.push(matchOf(reader, rule['match'], [...at, 'match']));
    headers.push(transformOf(reader, rule['transform'] ?? [], [...at, 'transform']));
  }
  const [first = {}, ...others] = headers;
  if (others.some((other) => JSON.stringify(other) !== JSON.stringify(first)))
    reader.refuse(path, 'headers are set for all requests of a rule, and these rules set different ones');
  out.allow.push({
    host: entry.host,
    ports: [entry.port ?? 443],
    tls: 'inspect',
    // A rule without match passes all, whatever the others name.
    ...(requests.length === items.length ? { requests } : {}),
    ...(Object.keys(first).length === 0 ? {} : { setHeaders: first }),
  });
}

function matchOf(reader: EgressReader, value: unknown, path: Path): Written {
  const written = reader.mapping(value, path, ['path', 'method', 'queryString', 'headers']) ?? {};
  const match: Written = {};
  for (const [key, member, at] of members(written, path)) {
    if (key === 'path') match['path'] = globOf(reader, member, at);
    if (key === 'method') match['methods'] = methodsOf(reader, member, at);
    if (key === 'queryString') match['query'] = valuesOf(reader, member, at);
    if (key === 'headers') match['headers'] = valuesOf(reader, member, at);
  }
  return match;
}

/** `startsWith: /v1/` is `/v1/**`; one that ends inside a segment, and a regular expression, are no globs. */
function globOf(reader: EgressReader, value: unknown, path: Path): string {
  if (typeof value === 'string') return literalPath(reader, value, path);
  const matched = valueOf(reader, value, path);
  const found = isMapping(matched) ? matched : {};
  if (typeof found['exact'] === 'string') return literalPath(reader, found['exact'], path);
  if (found['regex'] !== undefined) reader.refuse(path, 'a path is a glob, not a regular expression');
  const prefix = found['prefix'];
  if (typeof prefix !== 'string') return '/**';
  if (!prefix.endsWith('/'))
    reader.refuse(path, `${JSON.stringify(prefix)} ends inside a segment; end it with "/"`);
  return `${literalPath(reader, prefix, path)}**`;
}

function literalPath(reader: EgressReader, text: string, path: Path): string {
  if (text.includes('*')) reader.refuse(path, '"*" is an ordinary character there and a pattern here');
  return text;
}

function methodsOf(reader: EgressReader, value: unknown, path: Path): readonly unknown[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value;
  const matched = valueOf(reader, value, path);
  if (isMapping(matched) && typeof matched['exact'] === 'string') return [matched['exact']];
  reader.refuse(path, 'methods are compared whole');
  return [];
}

/** A mapping of names to matchers, or a list of `{ key, value }`. */
function valuesOf(reader: EgressReader, value: unknown, path: Path): Written {
  if (isMapping(value))
    return Object.fromEntries(
      members(value, path).map(([name, one, at]) => [name, valueOf(reader, one, at)]),
    );
  const found: Written = {};
  for (const [i, item] of reader.list(value, path, 'a mapping').entries()) {
    const at = [...path, i];
    const pair = reader.mapping(item, at, ['key', 'value']) ?? {};
    const key = isMapping(pair['key']) ? pair['key']['exact'] : pair['key'];
    if (typeof key !== 'string')
      reader.fail([...at, 'key'], { found: quoteValue(key), expected: 'one exact name' });
    else found[key] = pair['value'] === undefined ? 'any' : valueOf(reader, pair['value'], [...at, 'value']);
  }
  return found;
}

function transformOf(reader: EgressReader, value: unknown, path: Path): Written {
  const headers: Written = {};
  for (const [i, item] of [value].flat().entries()) {
    const at = [...path, i];
    const step = reader.mapping(item, at, ['headers']) ?? {};
    const written = step['headers'] ?? {};
    if (!isMapping(written))
      reader.fail([...at, 'headers'], { found: quoteValue(written), expected: 'a mapping' });
    else Object.assign(headers, written);
  }
  return headers;
}
