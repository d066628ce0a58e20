import type { PathStep } from '../parse.ts';
import { hostCovers, parseHostEntry } from '../host-entry.ts';
import { credentialsOf, type SourceFor } from './egress-credentials.ts';
import { allowHosts, denyHosts, noteOverlaps, readSubnets, type EgressOutput } from './egress-hosts.ts';
import { members, type EgressReader } from './egress-reader.ts';
import { ruleOf } from './egress-rules.ts';
import { isMapping } from './srt-shapes.ts';

type Path = readonly PathStep[];
type Mapping = Readonly<Record<string, unknown>>;

interface Context {
  readonly reader: EgressReader;
  readonly out: EgressOutput;
  readonly path: Path;
  readonly whole: Mapping;
  readonly sourceFor: SourceFor | undefined;
}

type Apply = (value: unknown, context: Context) => void;

const only =
  (allowed: readonly unknown[], why: string): Apply =>
  (value, { reader, path }) => {
    reader.only(value, path, allowed, why);
  };
const refuse =
  (why: string): Apply =>
  (_value, { reader, path }) => {
    reader.refuse(path, why);
  };
const note =
  (text: string): Apply =>
  (_value, { reader, path }) => {
    reader.note(path, text);
  };

const OWN_PORT = 'the gateway is part of Glovebox and its port is its own business';

/** Every key of the native form, which is srt's `network` and more, in the order in which they are read. */
const KEYS: Readonly<Record<string, Apply>> = {
  mode: (value, { reader, path, out, whole }) => {
    if (reader.word(value, path, ['deny', 'allow']) === 'allow')
      out.mode = whole['ipLiterals'] === 'allow' ? 'all' : 'names';
  },
  rules: readRules,
  allowedDomains: (value, { reader, path, out }) => allowHosts(reader, out, reader.texts(value, path), path),
  deniedDomains: (value, { reader, path, out }) => denyHosts(reader, out, reader.texts(value, path), path),
  deniedDomainReasons: readReasons,
  strictAllowlist: note('what is not allowed is refused'),
  subnets: (value, { reader, path, out }) => readSubnets(reader, out, value, path),
  ipLiterals: (value, { reader, path }) => void reader.word(value, path, ['deny', 'allow']),
  ipv6: note('what a name resolves to is vetted in both families'),
  deniedResolvedAddresses: (value, { reader, path, out }) =>
    denyHosts(
      reader,
      out,
      reader.texts(value, path).filter((text) => text !== 'private'),
      path,
    ),
  allowUnixSockets: only([[]], 'sockets of the host are never visible inside'),
  allowAllUnixSockets: only([false], 'it would turn the system call filter off'),
  allowLocalBinding: only([false], 'a sandbox has a loopback of its own; name host-loopback:PORT'),
  allowMachLookup: only([[]], 'it is for macOS only'),
  httpProxyPort: only([null], OWN_PORT),
  socksProxyPort: only([null], OWN_PORT),
  parentProxy: readParentProxy,
  mitmProxy: refuse('traffic is not handed to an external proxy'),
  filterRequest: refuse('a callback cannot stand in a policy; write rules'),
  listenerAuth: only(['socket'], 'a sandbox is known by its socket'),
  portless: only(['default'], 'an entry without a port is 443 and 80'),
  refuseOpaqueTunnels: only([true], 'a rule that looks inside never lets an opaque tunnel pass'),
  requireHostMatch: only([true], 'names are always compared'),
  ambiguousRequestTarget: only(['refuse'], 'ambiguous request targets are always refused'),
  allowPlaintextHeaderSet: only([false], 'credentials are never sent in clear'),
  stripResponseHeaders: stripEverywhere,
  dns: readDns,
  tlsTerminate: readTls,
  credentials: (value, { reader, path, out, sourceFor }) =>
    void Object.assign(out.credentials, credentialsOf(reader, value, path, sourceFor)),
  dlp: readDlp,
  budgets: readBudgets,
  enforcement: only(['enforce'], 'observe single rules: enforcement in the rule'),
  audit: readAudit,
};

export const NATIVE_KEYS: readonly string[] = Object.keys(KEYS);

/** Reads the native form of a network policy (docs/guide/policy.md names the keys). */
export function readNative(
  reader: EgressReader,
  value: unknown,
  out: EgressOutput,
  sourceFor?: SourceFor,
): void {
  const whole = reader.mapping(value, [], NATIVE_KEYS);
  if (whole === undefined) return;
  for (const [key, apply] of Object.entries(KEYS)) {
    if (Object.hasOwn(whole, key)) apply(whole[key], { reader, out, path: [key], whole, sourceFor });
  }
  noteOverlaps(reader, out);
}

function readRules(value: unknown, { reader, path, out }: Context): void {
  const ids = new Set<unknown>();
  for (const [i, item] of reader.list(value, path).entries()) {
    const rule = ruleOf(reader, item, [...path, i]);
    if (rule === undefined) continue;
    if (rule['id'] !== undefined && ids.has(rule['id']))
      reader.fail([...path, i, 'id'], { expected: 'an id of its own', why: 'another rule has it' });
    ids.add(rule['id']);
    out.allow.push(rule);
  }
}

function readReasons(value: unknown, { reader, path, out }: Context): void {
  if (!isMapping(value)) {
    reader.fail(path, { expected: 'a mapping of hosts to text' });
    return;
  }
  for (const [host, reason, at] of members(value, path)) {
    const entry = parseHostEntry(host, 'deny');
    const rules = entry.ok ? out.deny.filter((rule) => rule.host === entry.host) : [];
    const text = reader.text(reason, at);
    if (rules.length === 0) reader.fail(at, { expected: 'a host of deniedDomains' });
    for (const rule of rules) if (text !== undefined) rule.reason = text;
  }
}

function readParentProxy(value: unknown, { reader, path, out }: Context): void {
  if (value === null) return;
  if (typeof value === 'string') {
    out.settings['parentProxy'] = value;
    return;
  }
  const written = reader.mapping(value, path, ['url', 'http', 'https', 'noProxy']) ?? {};
  const urls = [...new Set([written['url'], written['http'], written['https']])].filter(
    (url) => url !== undefined,
  );
  if (urls.length !== 1) reader.fail(path, { expected: 'one proxy for everything' });
  const { noProxy } = written;
  const list = typeof noProxy === 'string' ? noProxy.split(',').map((text) => text.trim()) : noProxy;
  out.settings['parentProxy'] = { url: urls[0], ...(list === undefined ? {} : { noProxy: list }) };
}

function stripEverywhere(value: unknown, { reader, path, out }: Context): void {
  const names = reader.texts(value, path);
  if (names.length > 0 && out.allow.some((rule) => rule['tls'] !== 'inspect'))
    reader.refuse(path, 'responses are rewritten only where a rule looks inside; write it in those rules');
  for (const rule of out.allow) rule['stripResponseHeaders'] = names;
}

function readDns(value: unknown, { reader, path }: Context): void {
  const keys = ['mode', 'pool', 'types', 'maxDistinctNamesPerMinute', 'maxLabelEntropy'];
  const written = reader.mapping(value, path, keys) ?? {};
  const check = (key: string, allowed: readonly unknown[], why: string): void => {
    if (written[key] !== undefined) reader.only(written[key], [...path, key], allowed, why);
  };
  check('mode', ['synthetic'], 'a question of a sandbox is never forwarded');
  check('pool', ['198.18.0.0/15'], 'synthetic addresses come from 198.18.0.0/15');
  check('types', [['A']], 'only addresses are answered');
  for (const key of ['maxDistinctNamesPerMinute', 'maxLabelEntropy'])
    if (written[key] !== undefined) reader.note([...path, key], 'the gateway has a bound of its own');
}

function readTls(value: unknown, { reader, path, out }: Context): void {
  const keys = ['mode', 'excludeDomains', 'extraCaCertPaths', 'maxTunnels', 'handshakeTimeoutMs', 'ech'];
  const written = reader.mapping(value, path, keys) ?? {};
  if (written['mode'] !== undefined)
    reader.only(written['mode'], [...path, 'mode'], ['auto'], 'each rule says whether it looks inside');
  if (written['ech'] !== undefined)
    reader.only(written['ech'], [...path, 'ech'], ['deny'], 'say allowNoSni in the rule that needs it');
  for (const key of ['maxTunnels', 'handshakeTimeoutMs'])
    if (written[key] !== undefined) reader.note([...path, key], 'the gateway has a bound of its own');
  const files = reader.texts(written['extraCaCertPaths'] ?? [], [...path, 'extraCaCertPaths']);
  if (files.length > 0) out.settings['trust'] = files;
  for (const [i, host] of reader
    .texts(written['excludeDomains'] ?? [], [...path, 'excludeDomains'])
    .entries())
    checkExcluded(reader, out, host, [...path, 'excludeDomains', i]);
}

/** Keys of a written rule that need no look inside. */
const OUTSIDE: ReadonlySet<string> = new Set([
  'id',
  'host',
  'ports',
  'protocol',
  'private',
  'budget',
  'allowNoSni',
]);

function checkExcluded(reader: EgressReader, out: EgressOutput, host: string, path: Path): void {
  const entry = parseHostEntry(host, 'deny');
  const by = out.allow.find(
    (rule) =>
      rule['tls'] !== 'passthrough' &&
      Object.keys(rule).some((key) => !OUTSIDE.has(key)) &&
      (!entry.ok ||
        hostCovers(entry.host, String(rule['host'])) ||
        hostCovers(String(rule['host']), entry.host)),
  );
  if (by !== undefined)
    reader.fail(path, {
      expected: 'a host that no rule looks into',
      why: `it would lift what the rule for ${String(by['host'])} says`,
    });
}

function readDlp(value: unknown, { reader, path, out }: Context): void {
  const isNamed = isMapping(value) && isMapping(value['default']);
  const at = isNamed ? [...path, 'default'] : path;
  if (isNamed) reader.mapping(value, path, ['default']);
  const keys = [
    'action',
    'patterns',
    'secrets',
    'canaries',
    'decodeDepth',
    'maxInspectBytes',
    'onUninspectable',
    'hostLabels',
  ];
  const written = reader.mapping(isNamed ? value['default'] : value, at, keys) ?? {};
  const { secrets, canaries, patterns } = written;
  if (patterns !== undefined)
    reader.only(
      patterns,
      [...at, 'patterns'],
      ['builtin', 'none'],
      'write custom patterns under network.dlp',
    );
  const values = [
    ...reader.texts(canaries ?? [], [...at, 'canaries']),
    ...(secrets === undefined || secrets === 'all-credentials'
      ? []
      : reader.texts(secrets, [...at, 'secrets'])),
  ];
  out.settings['dlp'] = {
    action: written['action'] === 'audit' ? 'observe' : (written['action'] ?? 'deny'),
    patterns: patterns !== 'none',
    ...(values.length === 0 ? {} : { canaries: values }),
    ...(written['decodeDepth'] === undefined ? {} : { decodeDepth: written['decodeDepth'] }),
    ...(written['maxInspectBytes'] === undefined ? {} : { maxInspect: written['maxInspectBytes'] }),
    ...(written['onUninspectable'] === undefined ? {} : { uninspectable: written['onUninspectable'] }),
    ...(written['hostLabels'] === undefined ? {} : { names: written['hostLabels'] }),
    everywhere: !isNamed,
  };
}

const BUDGETS: Readonly<Record<string, string>> = {
  requestsPerMinute: 'requestsPerMinute',
  bytesUp: 'upload',
  bytesDown: 'download',
  concurrency: 'concurrency',
  distinctHostsPerBaseDomain: 'names',
};

function readBudgets(value: unknown, { reader, path, out }: Context): void {
  const budget: Record<string, unknown> = {};
  for (const [key, member, at] of members(reader.mapping(value, path, Object.keys(BUDGETS)) ?? {}, path)) {
    if (key === 'distinctHostsPerBaseDomain') reader.note(at, 'it bounds all names here, which is stricter');
    budget[BUDGETS[key] ?? key] = reader.number(member, at);
  }
  out.settings['budget'] = budget;
}

function readAudit(value: unknown, { reader, path }: Context): void {
  const expected: Readonly<Record<string, unknown>> = {
    sink: 'file',
    requestLine: 'path',
    query: 'names',
    bodies: 'none',
    onSinkFailure: 'deny',
    chain: 'sha256',
  };
  for (const [key, member, at] of members(reader.mapping(value, path, Object.keys(expected)) ?? {}, path))
    reader.only(member, at, [expected[key]], `the record is always ${String(expected[key])}`);
}
