import { hostCovers, parseHostEntry } from '../host-entry.ts';
import type { PathStep } from '../parse.ts';
import { quoteValue } from '../problems.ts';
import { storedValue } from './egress-credentials.ts';
import { allowHosts, denyHosts, noteOverlaps, readSubnets, type EgressOutput } from './egress-hosts.ts';
import { members, type EgressReader } from './egress-reader.ts';
import { vercelRules } from './egress-vercel.ts';
import { isMapping } from './srt-shapes.ts';

type Path = readonly PathStep[];
type Mapping = Readonly<Record<string, unknown>>;

/** The network settings of another product. */
export interface EgressAlias {
  readonly name: string;
  /** Every key it knows. */
  readonly keys: readonly string[];
  /** Keys that only this product has. */
  readonly telling: readonly string[];
  readonly read: (reader: EgressReader, value: Mapping, out: EgressOutput) => void;
}

/** Shapes by their product. Sources: the network pages of each, as of the date in docs/guide/policy.md. */
export const ALIASES: readonly EgressAlias[] = [
  {
    name: 'E2B',
    keys: ['allowOut', 'denyOut', 'allowInternetAccess', 'rules'],
    telling: ['allowOut', 'denyOut', 'allowInternetAccess'],
    read: readE2b,
  },
  { name: 'Vercel', keys: ['allow', 'subnets'], telling: ['allow'], read: readVercel },
  {
    name: 'Cloudflare',
    keys: ['enableInternet', 'allowedHosts', 'deniedHosts'],
    telling: ['enableInternet', 'allowedHosts', 'deniedHosts'],
    read: readCloudflare,
  },
  { name: 'Deno', keys: ['allowNet', 'secrets'], telling: ['allowNet', 'secrets'], read: readDeno },
];

const EVERYTHING: ReadonlySet<unknown> = new Set(['0.0.0.0/0', '::/0']);

/** There allow wins over deny, here deny wins: what the two would judge differently is refused. */
function readE2b(reader: EgressReader, value: Mapping, out: EgressOutput): void {
  const allow = reader.texts(value['allowOut'] ?? [], ['allowOut']);
  const denied = reader.texts(value['denyOut'] ?? [], ['denyOut']);
  const rest = denied.filter((text) => !EVERYTHING.has(text));
  const internet =
    value['allowInternetAccess'] === undefined
      ? true
      : reader.flag(value['allowInternetAccess'], ['allowInternetAccess']);
  if (internet === true && rest.length === denied.length) out.mode = 'all';
  for (const [i, text] of allow.entries()) refuseOverlap(reader, text, rest, ['allowOut', i]);
  // Before the plain hosts: what is there already is not added again.
  e2bRules(reader, out, value, allow);
  const isRange = (text: string): boolean => /^[0-9a-f.:]+\/[0-9]+$/i.test(text);
  allowHosts(
    reader,
    out,
    allow.filter((text) => !isRange(text)),
    ['allowOut'],
  );
  if (allow.some(isRange)) readSubnets(reader, out, { allow: allow.filter(isRange) }, []);
  denyHosts(reader, out, rest, ['denyOut']);
}

/** A rule there changes requests to a host and grants nothing by itself. */
function e2bRules(reader: EgressReader, out: EgressOutput, value: Mapping, allow: readonly string[]): void {
  for (const [host, rules, at] of members(mappingOr(reader, value['rules'], ['rules']), ['rules'])) {
    if (out.mode === undefined && !allow.includes(host))
      reader.fail(at, { expected: 'a host of allowOut', why: 'it grants nothing there' });
    else vercelRules(reader, out, { host, rules, path: at, keys: ['transform'] });
  }
}

function refuseOverlap(reader: EgressReader, text: string, denied: readonly string[], path: Path): void {
  const entry = parseHostEntry(text, 'deny');
  const by = denied.find((other) => {
    const deny = parseHostEntry(other, 'deny');
    return entry.ok && deny.ok && (hostCovers(deny.host, entry.host) || hostCovers(entry.host, deny.host));
  });
  if (by !== undefined)
    reader.refuse(path, `denyOut names ${JSON.stringify(by)} too, and there allow wins while here deny wins`);
}

function readVercel(reader: EgressReader, value: Mapping, out: EgressOutput): void {
  const { allow } = value;
  if (Array.isArray(allow)) allowHosts(reader, out, reader.texts(allow, ['allow']), ['allow']);
  else
    for (const [host, rules, path] of members(mappingOr(reader, allow, ['allow']), ['allow']))
      vercelRules(reader, out, { host, rules, path, keys: ['match', 'transform', 'forwardURL'] });
  if (value['subnets'] !== undefined) readSubnets(reader, out, value['subnets'], ['subnets']);
  noteOverlaps(reader, out);
}

/** Globs there match any characters; only `*.name` means the same here. */
function readCloudflare(reader: EgressReader, value: Mapping, out: EgressOutput): void {
  const allowed = value['allowedHosts'];
  const internet =
    value['enableInternet'] === undefined ? true : reader.flag(value['enableInternet'], ['enableInternet']);
  if (internet === true && allowed === undefined) out.mode = 'all';
  allowHosts(reader, out, reader.texts(allowed ?? [], ['allowedHosts']), ['allowedHosts']);
  denyHosts(reader, out, reader.texts(value['deniedHosts'] ?? [], ['deniedHosts']), ['deniedHosts']);
  noteOverlaps(reader, out);
}

function readDeno(reader: EgressReader, value: Mapping, out: EgressOutput): void {
  const { allowNet } = value;
  if (allowNet === undefined)
    reader.fail(['allowNet'], { expected: 'a list of hosts', why: 'without it everything would be open' });
  else if (typeof allowNet === 'boolean') {
    if (allowNet) out.mode = 'all';
  } else allowHosts(reader, out, reader.texts(allowNet, ['allowNet']), ['allowNet']);
  for (const [name, written, path] of members(mappingOr(reader, value['secrets'], ['secrets']), ['secrets']))
    denoSecret(reader, out, { name, written, path });
}

function denoSecret(
  reader: EgressReader,
  out: EgressOutput,
  { name, written, path }: { readonly name: string; readonly written: unknown; readonly path: Path },
): void {
  const entry = reader.mapping(written, path, ['hosts', 'value']) ?? {};
  const hosts = reader.texts(entry['hosts'] ?? [], [...path, 'hosts']);
  if (hosts.length === 0)
    reader.fail([...path, 'hosts'], {
      expected: 'hosts',
      why: 'a credential without a host could go anywhere',
    });
  reader.note(path, 'it was put in wherever its placeholder stood; here it stands in Authorization: Bearer');
  out.credentials[name] = {
    from: storedValue(reader, entry['value'] ?? 'to be stored', [...path, 'value'], name),
    bearer: true,
    hosts,
    expose: { env: name },
  };
  for (const host of hosts) useCredential(out, name, host);
}

/** The rule for a host looks inside, so that the secret can be put in. */
function useCredential(out: EgressOutput, name: string, text: string): void {
  const entry = parseHostEntry(text, 'allow');
  if (!entry.ok) return;
  const port = entry.port ?? 443;
  const rule = out.allow.find(
    (one) => one['host'] === entry.host && JSON.stringify(one['ports']) === JSON.stringify([port]),
  );
  if (rule === undefined) return;
  const names = Array.isArray(rule['credentials']) ? rule['credentials'] : [];
  rule['credentials'] = [...names, name];
}

function mappingOr(reader: EgressReader, value: unknown, path: Path): Mapping {
  if (value === undefined) return {};
  if (isMapping(value)) return value;
  reader.fail(path, { found: quoteValue(value), expected: 'a mapping' });
  return {};
}
