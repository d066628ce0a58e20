import { ByteReader, printableAscii } from './byte-reader.ts';
import { canonicalName } from './name.ts';

/** What a TLS ClientHello says about its destination. */
export interface ClientHello {
  /** Canonical server name; undefined when the client sends none. */
  readonly serverName: string | undefined;
  /** An outer Encrypted ClientHello: the true name is inside and unknown (RFC 9849; also sent as GREASE). */
  readonly encrypted: boolean;
  /** Protocols offered by ALPN (RFC 7301). */
  readonly alpn: readonly string[];
}

/** `more`: feed further bytes; `bad`: not a ClientHello that can be judged. */
export type ClientHelloResult =
  | { readonly state: 'more' }
  | { readonly state: 'bad'; readonly why: string; readonly notTls: boolean }
  | { readonly state: 'hello'; readonly hello: ClientHello };

/** A ClientHello with post-quantum shares is about 2 KiB; this bounds what one connection may hold. */
export const CLIENT_HELLO_MAX = 64 * 1024;

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const RECORD_MAX = 16_384;
const EXT_SERVER_NAME = 0;
const EXT_ALPN = 16;
const EXT_ECH = 0xfe0d;

/**
 * Reads the ClientHello at the front of `bytes`, over any number of TLS records (RFC 8446 §5.1 allows a handshake message to be
 * split; readers that look at the first record only can be made to miss the name).
 */
export function readClientHello(bytes: Uint8Array): ClientHelloResult {
  const message = joinRecords(bytes);
  if (message.state === 'bad') return message;
  const body = message.body;
  if (body === undefined)
    return bytes.length >= CLIENT_HELLO_MAX ? bad('a ClientHello over 64 KiB') : { state: 'more' };
  return parseHello(new ByteReader(body));
}

type Joined =
  | { readonly state: 'bad'; readonly why: string; readonly notTls: boolean }
  | { readonly state: 'ok'; readonly body?: Uint8Array };

function joinRecords(bytes: Uint8Array): Joined {
  const parts: Uint8Array[] = [];
  let have = 0;
  const reader = new ByteReader(bytes);
  while (reader.left > 0) {
    const record = readRecord(reader);
    if (record.state === 'bad') return record;
    if (record.body === undefined) return { state: 'ok' };
    parts.push(record.body);
    have += record.body.length;
    const need = handshakeLength(parts);
    if (need === 'not-hello') return bad('a handshake that does not begin with a ClientHello');
    if (need === undefined) continue;
    if (need > CLIENT_HELLO_MAX) return bad('a ClientHello over 64 KiB');
    if (have < need) continue;
    // Bytes after the ClientHello in its last record would be a second handshake message, which no client may send here.
    if (have > need) return bad('handshake bytes after the ClientHello');
    return { state: 'ok', body: concat(parts, have).subarray(4) };
  }
  return { state: 'ok' };
}

function readRecord(reader: ByteReader): Joined {
  const type = reader.u8();
  if (type !== undefined && type !== HANDSHAKE) return bad('bytes that are not a TLS handshake', true);
  const major = reader.u8();
  if (major !== undefined && major !== 3) return bad('bytes that are not a TLS handshake', true);
  const minor = reader.u8();
  if (minor !== undefined && minor > 4) return bad('an unknown TLS record version', true);
  const length = reader.u16();
  if (length === 0 || (length !== undefined && length > RECORD_MAX))
    return bad('a TLS record of a forbidden length');
  const body = length === undefined ? undefined : reader.take(length);
  return body === undefined ? { state: 'ok' } : { state: 'ok', body };
}

function handshakeLength(parts: readonly Uint8Array[]): number | 'not-hello' | undefined {
  const head: number[] = [];
  for (const part of parts) {
    for (const byte of part.subarray(0, 4 - head.length)) head.push(byte);
    if (head.length >= 4) break;
  }
  if ((head[0] ?? CLIENT_HELLO) !== CLIENT_HELLO) return 'not-hello';
  if (head.length < 4) return undefined;
  return 4 + (head[1] ?? 0) * 65_536 + (head[2] ?? 0) * 256 + (head[3] ?? 0);
}

function parseHello(reader: ByteReader): ClientHelloResult {
  const version = reader.u16();
  if (version === undefined || version >> 8 !== 3) return bad('an unknown TLS version');
  const random = reader.take(32);
  const session = reader.vector(1);
  const ciphers = reader.vector(2);
  const compression = reader.vector(1);
  if (random === undefined || session === undefined || ciphers === undefined || compression === undefined) {
    return bad('a ClientHello that is cut short');
  }
  if (reader.left === 0)
    return { state: 'hello', hello: { serverName: undefined, encrypted: false, alpn: [] } };
  const extensions = reader.vector(2);
  if (extensions === undefined || reader.left > 0) return bad('a ClientHello with a wrong extension length');
  return parseExtensions(extensions);
}

function parseExtensions(extensions: ByteReader): ClientHelloResult {
  const seen = new Set<number>();
  let serverName: string | undefined;
  let encrypted = false;
  let alpn: readonly string[] = [];
  while (extensions.left > 0) {
    const type = extensions.u16();
    const body = extensions.vector(2);
    if (type === undefined || body === undefined) return bad('an extension that is cut short');
    // RFC 8446 §4.2: at most one extension of a type; a second server_name is how readers are told apart.
    if (seen.has(type)) return bad('the same extension twice');
    seen.add(type);
    if (type === EXT_ECH) encrypted = true;
    if (type === EXT_ALPN) alpn = readAlpn(body);
    if (type !== EXT_SERVER_NAME) continue;
    const name = readServerName(body);
    if (!name.ok) return bad(name.why);
    serverName = name.name;
  }
  return { state: 'hello', hello: { serverName, encrypted, alpn } };
}

/** RFC 6066 §3: one name of type host_name, ASCII, no trailing dot. */
function readServerName(
  body: ByteReader,
): { readonly ok: true; readonly name: string } | { readonly ok: false; readonly why: string } {
  const list = body.vector(2);
  if (list === undefined || body.left > 0) return { ok: false, why: 'a server name of a wrong length' };
  const type = list.u8();
  const raw = list.vector(2);
  if (type !== 0 || raw === undefined) return { ok: false, why: 'a server name of an unknown type' };
  if (list.left > 0) return { ok: false, why: 'more than one server name' };
  const text = printableAscii(raw.take(raw.left) ?? new Uint8Array());
  if (text === undefined) return { ok: false, why: 'a server name with bytes outside printable ASCII' };
  const name = canonicalName(text);
  return name.ok ? name : { ok: false, why: `a server name that has ${name.why}` };
}

function readAlpn(body: ByteReader): readonly string[] {
  const list = body.vector(2);
  const names: string[] = [];
  if (list === undefined) return names;
  for (let entry = list.vector(1); entry !== undefined; entry = list.vector(1)) {
    const text = printableAscii(entry.take(entry.left) ?? new Uint8Array());
    if (text !== undefined) names.push(text);
  }
  return names;
}

function concat(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function bad(
  why: string,
  notTls = false,
): { readonly state: 'bad'; readonly why: string; readonly notTls: boolean } {
  return { state: 'bad', why, notTls };
}
