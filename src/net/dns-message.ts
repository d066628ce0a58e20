import { ByteReader, printableAscii } from './byte-reader.ts';
import { canonicalName } from './name.ts';
import { parseIp } from './ip.ts';

/** Response codes (RFC 1035 §4.1.1). */
export const RCODE = { ok: 0, formErr: 1, servFail: 2, nxDomain: 3, notImp: 4, refused: 5 } as const;
export type Rcode = (typeof RCODE)[keyof typeof RCODE];

/** Record types that are told apart; every other type of an allowed name has no data. */
export const RRTYPE = { a: 1, aaaa: 28 } as const;

/** The longest query read: one name, and an EDNS record with its options (RFC 1035 §4.2.1, RFC 6891). */
export const DNS_QUERY_MAX = 512;

/** One question. */
export interface DnsQuery {
  readonly id: number;
  readonly recursionDesired: boolean;
  /** Canonical name. */
  readonly name: string;
  readonly type: number;
  /** The question as it came, letters and all: resolvers compare it with the reply (draft-vixie-dnsext-dns0x20). */
  readonly question: Uint8Array;
  readonly edns: boolean;
}

/** `drop`: nothing to answer to; `reply`: a header-only answer with this code. */
export type DnsQueryResult =
  | { readonly state: 'drop' }
  | { readonly state: 'reply'; readonly bytes: Uint8Array; readonly why: string }
  | { readonly state: 'query'; readonly query: DnsQuery };

const HEADER = 12;
const CLASS_IN = 1;
const TYPE_OPT = 41;
const FLAG_RESPONSE = 0x8000;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RD = 0x0100;
const FLAG_RA = 0x0080;
/** A synthetic address is stable for the life of the sandbox; a minute keeps a client's cache useful. */
const TTL_SECONDS = 60;
const EDNS_PAYLOAD = 1232;

/**
 * Reads a query strictly: opcode QUERY, one question, class IN, a name of plain labels without compression, nothing in the answer
 * sections and at most one OPT record after it, whose options are never looked at nor copied.
 */
export function readDnsQuery(bytes: Uint8Array): DnsQueryResult {
  if (bytes.length < HEADER) return { state: 'drop' };
  const reader = new ByteReader(bytes);
  const [id = 0, flags = 0] = [reader.u16(), reader.u16()];
  const [questions = 0, answers = 0, authorities = 0, additionals = 0] = [
    reader.u16(),
    reader.u16(),
    reader.u16(),
    reader.u16(),
  ];
  // An answer to an answer would let two servers talk for ever.
  if ((flags & FLAG_RESPONSE) !== 0) return { state: 'drop' };
  const fail = (rcode: Rcode, why: string): DnsQueryResult => ({
    state: 'reply',
    bytes: bareReply(id, flags, rcode),
    why,
  });
  if (bytes.length > DNS_QUERY_MAX) return fail(RCODE.formErr, 'a query over 512 bytes');
  if (((flags >> 11) & 0xf) !== 0) return fail(RCODE.notImp, 'an opcode other than QUERY');
  if (
    (flags & FLAG_TRUNCATED) !== 0 ||
    questions !== 1 ||
    answers !== 0 ||
    authorities !== 0 ||
    additionals > 1
  ) {
    return fail(RCODE.formErr, 'not exactly one question');
  }
  const name = readName(reader);
  if (!name.ok) return fail(RCODE.formErr, name.why);
  const [type, qclass] = [reader.u16(), reader.u16()];
  if (type === undefined || qclass === undefined) return fail(RCODE.formErr, 'a question that is cut short');
  const question = bytes.slice(HEADER, reader.at);
  const edns = additionals === 1;
  if (edns && !skipOpt(reader)) return fail(RCODE.formErr, 'an additional record other than OPT');
  if (reader.left > 0) return fail(RCODE.formErr, 'bytes after the message');
  if (qclass !== CLASS_IN) return fail(RCODE.refused, 'a class other than IN');
  return {
    state: 'query',
    query: { id, recursionDesired: (flags & FLAG_RD) !== 0, name: name.name, type, question, edns },
  };
}

/** Writes the answer: an address of the question's own type, or none. */
export function writeDnsReply(query: DnsQuery, rcode: Rcode, address?: string): Uint8Array {
  const ip = address === undefined ? undefined : parseIp(address);
  const flags = FLAG_RESPONSE | FLAG_RA | (query.recursionDesired ? FLAG_RD : 0) | rcode;
  const out: number[] = [
    ...u16(query.id),
    ...u16(flags),
    0,
    1,
    0,
    ip === undefined ? 0 : 1,
    0,
    0,
    0,
    query.edns ? 1 : 0,
  ];
  for (const byte of query.question) out.push(byte);
  if (ip !== undefined) {
    const type = ip.version === 4 ? RRTYPE.a : RRTYPE.aaaa;
    // 0xc00c points at the question's name, right behind the header (RFC 1035 §4.1.4).
    out.push(
      0xc0,
      HEADER,
      ...u16(type),
      ...u16(CLASS_IN),
      0,
      0,
      0,
      TTL_SECONDS,
      ...u16(ip.bytes.length),
      ...ip.bytes,
    );
  }
  if (query.edns) out.push(0, ...u16(TYPE_OPT), ...u16(EDNS_PAYLOAD), 0, 0, 0, 0, 0, 0);
  return Uint8Array.from(out);
}

function bareReply(id: number, flags: number, rcode: Rcode): Uint8Array {
  const reply = FLAG_RESPONSE | (flags & 0x7900) | rcode;
  return Uint8Array.from([...u16(id), ...u16(reply), 0, 0, 0, 0, 0, 0, 0, 0]);
}

function readName(
  reader: ByteReader,
): { readonly ok: true; readonly name: string } | { readonly ok: false; readonly why: string } {
  const labels: string[] = [];
  for (;;) {
    const length = reader.u8();
    if (length === undefined) return { ok: false, why: 'a name that is cut short' };
    if (length === 0) break;
    // Pointers (0xc0) loop and reach elsewhere, 0x40 and 0x80 are reserved: none belongs in a question.
    if (length > 63) return { ok: false, why: 'a compressed or reserved label in the question' };
    const raw = reader.take(length);
    const label = raw === undefined ? undefined : printableAscii(raw);
    // A dot inside a label would read as a boundary afterwards.
    if (label === undefined || label.includes('.'))
      return { ok: false, why: 'a label with bytes outside letters, digits, "-" and "_"' };
    labels.push(label);
  }
  const name = canonicalName(labels.join('.'));
  return name.ok ? name : { ok: false, why: `a name that has ${name.why}` };
}

/** RFC 6891 §6.1.2: root name, type OPT, then options that must fit exactly. */
function skipOpt(reader: ByteReader): boolean {
  if (reader.u8() !== 0 || reader.u16() !== TYPE_OPT) return false;
  if (reader.take(6) === undefined) return false;
  const length = reader.u16();
  return length !== undefined && reader.take(length) !== undefined;
}

function u16(value: number): readonly [number, number] {
  return [(value >> 8) & 0xff, value & 0xff];
}
