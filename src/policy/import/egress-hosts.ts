import { parseRange } from '../../net/ip-range.ts';
import { hostCovers, parseHostEntry } from '../host-entry.ts';
import type { PathStep } from '../parse.ts';
import type { EgressReader } from './egress-reader.ts';

type Path = readonly PathStep[];

/** The policy that an import builds up, as it will be written. */
export interface EgressOutput {
  mode?: 'names' | 'all';
  readonly allow: Record<string, unknown>[];
  readonly deny: { host: string; ports?: readonly number[]; reason?: string }[];
  readonly settings: Record<string, unknown>;
  readonly credentials: Record<string, unknown>;
}

export function emptyOutput(): EgressOutput {
  return { allow: [], deny: [], settings: {}, credentials: {} };
}

/** Hosts that may be reached with TLS on 443 and HTTP on 80, or on the port that one names. */
export function allowHosts(
  reader: EgressReader,
  out: EgressOutput,
  hosts: readonly string[],
  path: Path,
): void {
  for (const [i, text] of hosts.entries()) {
    const at = [...path, i];
    const entry = parseHostEntry(text, 'allow');
    if (text.includes('/') && entry.ok) {
      reader.fail(at, {
        found: JSON.stringify(text),
        expected: 'a host',
        why: 'an address range belongs in subnets',
      });
      continue;
    }
    if (!entry.ok) {
      reader.fail(at, {
        found: JSON.stringify(text),
        expected: 'a host',
        why: entry.why,
        ...(entry.hint === undefined ? {} : { nearest: entry.hint }),
      });
      continue;
    }
    if (entry.host === 'host-loopback') {
      reader.refuse(at, 'host-loopback has a meaning of its own here');
      continue;
    }
    if (entry.port === undefined)
      reader.note(at, `${text} meant every port; here it is 443 (TLS) and 80 (HTTP)`);
    const ports = entry.port === undefined ? [443, 80] : [entry.port];
    for (const port of ports) addHost(out, entry.host, port);
  }
}

function addHost(out: EgressOutput, host: string, port: number): void {
  const isThere = out.allow.some(
    (rule) => rule['host'] === host && Array.isArray(rule['ports']) && rule['ports'].includes(port),
  );
  if (!isThere) out.allow.push({ host, ports: [port], ...(port === 80 ? { protocol: 'http' } : {}) });
}

/** Hosts and ranges that are refused. */
export function denyHosts(
  reader: EgressReader,
  out: EgressOutput,
  hosts: readonly string[],
  path: Path,
): void {
  for (const [i, text] of hosts.entries()) {
    const entry = parseHostEntry(text, 'deny');
    if (!entry.ok) {
      reader.fail([...path, i], { found: JSON.stringify(text), expected: 'a host', why: entry.why });
      continue;
    }
    out.deny.push({ host: entry.host, ...(entry.port === undefined ? {} : { ports: [entry.port] }) });
  }
}

/** Tells of hosts that are allowed and refused at once: the refusal wins here. */
export function noteOverlaps(reader: EgressReader, out: EgressOutput): void {
  const hosts = new Set(out.allow.map((rule) => String(rule['host'])));
  for (const host of hosts) {
    const by = out.deny.find((rule) => rule.ports === undefined && hostCovers(rule.host, host));
    if (by !== undefined) reader.notices.push(`${host} is allowed and stays refused: ${by.host} denies it`);
  }
}

/** `subnets: { allow, deny }`. */
export function readSubnets(reader: EgressReader, out: EgressOutput, value: unknown, path: Path): void {
  const written = reader.mapping(value, path, ['allow', 'deny']);
  for (const [i, text] of reader.texts(written?.['allow'] ?? [], [...path, 'allow']).entries())
    allowRange(reader, out, { text, path: [...path, 'allow', i], isPrivate: false });
  const denied = reader.texts(written?.['deny'] ?? [], [...path, 'deny']);
  for (const [i, text] of denied.entries()) {
    if (checkRange(reader, text, [...path, 'deny', i])) denyHosts(reader, out, [text], [...path, 'deny']);
  }
}

function checkRange(reader: EgressReader, text: string, path: Path): boolean {
  const range = parseRange(text);
  if (range.ok) return true;
  reader.fail(path, {
    found: JSON.stringify(text),
    expected: 'an address range such as 10.1.2.0/24',
    why: range.why,
    ...(range.hint === undefined ? {} : { nearest: range.hint.replace(/^write /, '') }),
  });
  return false;
}

/** A range of addresses: tcp, because nothing names a server there. */
function allowRange(
  reader: EgressReader,
  out: EgressOutput,
  facts: { readonly text: string; readonly path: Path; readonly isPrivate: boolean },
): void {
  if (!checkRange(reader, facts.text, facts.path)) return;
  reader.note(facts.path, 'every port was meant; here it is 443 and 80');
  out.allow.push({
    host: facts.text,
    ports: [443, 80],
    protocol: 'tcp',
    ...(facts.isPrivate ? { private: true } : {}),
  });
}
