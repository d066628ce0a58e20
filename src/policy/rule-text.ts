import { canonicalHash } from '../base/canonical-json.ts';
import type {
  CredentialPolicy,
  CredentialSource,
  DlpPolicy,
  JsonDeny,
  NetworkRule,
  PinRule,
  RequestPolicy,
} from './contract.ts';
import { formatPlace } from './places.ts';
import { presetWhy } from './presets.ts';
import { printable } from './problems.ts';
import { matchText } from './request-cover.ts';
import { formatDuration, formatSize } from './units.ts';

/** Requests that one line names; the rest is counted, and the digest tells two rules apart. */
const SHOWN = 4;

/** `*.example.com:443 (https, private addresses too)`: all that a rule says, on one line. */
export function hostText(rule: NetworkRule): string {
  const facts: string[] = [rule.protocol];
  if (rule.private) facts.push(`${privateText(rule)} too`);
  if (rule.allowNoSni) facts.push('TLS without a name too');
  if (rule.requests !== undefined) facts.push(requestsText(rule.requests));
  if (rule.ssh !== undefined) facts.push(...sshFacts(rule.ssh));
  if (rule.budget !== undefined) facts.push(`budget ${printable(JSON.stringify(rule.budget))}`);
  return `${placeText(rule)} (${facts.join(', ')})`;
}

const privateText = ({ privateRanges }: NetworkRule): string =>
  privateRanges === undefined ? 'private addresses' : `private addresses of ${privateRanges.join(' ')}`;

/** `host:443`, with the brackets that an IPv6 address needs. */
export function placeText(rule: Pick<NetworkRule, 'host' | 'ports'>): string {
  return `${rule.host.includes(':') ? `[${rule.host}]` : rule.host}:${rule.ports.join(',')}`;
}

function sshFacts(ssh: NonNullable<NetworkRule['ssh']>): readonly string[] {
  return [
    `host keys ${ssh.hostKeys.join(' ')}`,
    ...(ssh.keys === undefined ? [] : [`signed with ${printable(ssh.keys.join(', '))}`]),
  ];
}

/** What passes and which secrets go with it in words; the digest stands for all the rest. */
function requestsText(requests: RequestPolicy): string {
  const { allow, pin, credentials, websocket, enforcement, setHeaders } = requests;
  const named = allow?.slice(0, SHOWN).map((match) => printable(matchText(match)));
  const more = (allow?.length ?? 0) - SHOWN;
  const facts = [
    named === undefined
      ? 'inspected'
      : `inspected: ${named.join('; ')}${more > 0 ? ` and ${more} more` : ''}`,
    ...(enforcement === 'observe' ? ['only observed'] : []),
    ...(pin === undefined ? [] : [pinText(pin)]),
    ...credentials.filter((name) => name !== pin?.credential).map((name) => `puts in credential ${name}`),
    ...(websocket === 'deny' ? [] : [`websocket ${websocket}`]),
    ...Object.keys(setHeaders).map((name) => `sets ${printable(name)}`),
    ...(requests.refuse.length === 0 ? [] : [`${requests.refuse.length} refusals`]),
    `sha256 ${canonicalHash(requests).slice(0, 12)}`,
  ];
  return facts.join(', ');
}

function pinText(pin: PinRule): string {
  const places = pin.places === undefined ? '' : ` in ${pin.places.map(formatPlace).join(' ')}`;
  return `${pin.require ? 'pinned to' : 'pinned, when there is any, to'} credential ${pin.credential}${places}`;
}

/** Everything a rule says about requests, one fact a line, with the reason where a preset brought it. */
export function requestLines(requests: RequestPolicy, reasons: boolean): readonly string[] {
  const why = (entry: Parameters<typeof presetWhy>[0]): string => {
    const found = reasons ? presetWhy(entry) : undefined;
    return found === undefined ? '' : `  (${found})`;
  };
  const { allow, refuse, json = [], mcp, graphql, pin, credentials } = requests;
  return [
    ...(requests.enforcement === 'observe' ? ['observes what it would refuse'] : []),
    ...(allow?.map((match) => `pass     ${matchText(match)}${why(match)}`) ?? ['pass     every request']),
    ...refuse.map((match) => `refuse   ${matchText(match)}${why(match)}`),
    ...json.map((rule) => `refuse   JSON ${jsonText(rule)}${why(rule)}`),
    ...(mcp === undefined
      ? []
      : [`mcp      ${namesText('tools', mcp.tools)}, ${namesText('methods', mcp.methods)}`]),
    ...(graphql === undefined
      ? []
      : [`graphql  ${graphql.types.join(', ')}; ${namesText('fields', graphql.fields)}`]),
    ...(pin === undefined ? [] : [`secret   ${pinText(pin)}`]),
    ...credentials
      .filter((name) => name !== pin?.credential)
      .map((name) => `secret   puts in credential ${name}`),
    ...headerLines(requests),
    ...settingLines(requests),
  ].map(printable);
}

function headerLines(requests: RequestPolicy): readonly string[] {
  const { requestHeaders, setHeaders, removeHeaders, stripResponseHeaders } = requests;
  return [
    ...(requestHeaders === undefined
      ? []
      : [`headers  only ${requestHeaders.join(', ') || 'the necessary'}`]),
    ...Object.entries(setHeaders).map(([name, value]) => `headers  sets ${name}: ${value}`),
    ...(removeHeaders.length === 0 ? [] : [`headers  removes ${removeHeaders.join(', ')}`]),
    ...(stripResponseHeaders.length === 0
      ? []
      : [`headers  removes ${stripResponseHeaders.join(', ')} from responses`]),
  ];
}

function settingLines(requests: RequestPolicy): readonly string[] {
  const { requestsPerMinute, concurrency, bodyBytes, requestMs } = requests.limits;
  const limits = [
    requestsPerMinute === undefined ? undefined : `${requestsPerMinute} a minute`,
    concurrency === undefined ? undefined : `${concurrency} at once`,
    bodyBytes === undefined ? undefined : `bodies to ${formatSize(bodyBytes)}`,
    requestMs === undefined ? undefined : `${formatDuration(requestMs)} each`,
  ].filter((part) => part !== undefined);
  const also = [
    requests.http2 ? 'HTTP/2' : undefined,
    requests.websocket === 'deny' ? undefined : `websocket ${requests.websocket}`,
    requests.encodedSlash === 'deny' ? undefined : '%2f in paths',
    requests.dlp ? 'scanned for secrets' : undefined,
  ].filter((part) => part !== undefined);
  return [
    ...(limits.length === 0 ? [] : [`limits   ${limits.join(', ')}`]),
    ...(also.length === 0 ? [] : [`also     ${also.join(', ')}`]),
  ];
}

/** `$.tools[*].type begins with mcp`. */
export function jsonText({ path, match }: JsonDeny): string {
  if (match.kind === 'any') return path;
  return `${path} ${match.kind === 'equals' ? '=' : 'begins with'} ${match.values.join(' | ')}`;
}

function namesText(what: string, names: readonly string[] | undefined): string {
  return names === undefined ? `all ${what}` : `${what} ${names.join(', ') || 'none'}`;
}

/** A credential on one line: where it comes from, where it goes, how it is known inside. Never a secret: sources are names. */
export function credentialText(credential: CredentialPolicy): string {
  const { name, sources, places, hosts, paths, expose, scrub } = credential;
  const from = Object.entries(sources).map(([field, source]) =>
    field === 'value' ? sourceText(source) : `${field} ${sourceText(source)}`,
  );
  const variables = Object.keys(expose.env);
  const facts = [
    `from ${from.join(', ')}`,
    `to ${hosts.map(({ host, port }) => `${host}:${port}`).join(' ') || 'no host'}`,
    ...(paths === undefined ? [] : [`paths ${paths.join(' ')}`]),
    `in ${places.map(formatPlace).join(' ')}`,
    ...(variables.length === 0 ? [] : [`as ${variables.join(' ')}`]),
    ...(expose.files.length === 0 ? [] : [`in copies of ${expose.files.join(' ')}`]),
    ...(scrub ? [] : ['responses are not scrubbed']),
  ];
  return printable(`${name}: ${facts.join(', ')}`);
}

function sourceText(source: CredentialSource): string {
  if (source.kind === 'command')
    return `command ${JSON.stringify(source.argv[0] ?? '')} with ${source.argv.length - 1} arguments`;
  return `${source.kind}:${source.kind === 'file' ? source.path : source.name}`;
}

/** One line; canaries and patterns are counted. */
export function dlpText(dlp: DlpPolicy): string {
  const facts = [
    dlp.action,
    dlp.patterns ? 'shipped patterns' : 'no shipped patterns',
    `${dlp.custom.length} patterns and ${dlp.canaries.length} canaries of yours`,
    `decoded ${dlp.decodeDepth} deep`,
    `bodies to ${formatSize(dlp.maxInspectBytes)}, beyond: ${dlp.uninspectable}`,
    dlp.names ? 'names too' : 'not names',
    dlp.everywhere ? 'every inspected rule' : 'rules that say so',
    `sha256 ${canonicalHash(dlp).slice(0, 12)}`,
  ];
  return facts.join(', ');
}
