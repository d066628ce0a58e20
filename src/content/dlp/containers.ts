import zlib from 'node:zlib';

/** Why something could not be looked into. */
export type Problem = 'size' | 'depth' | 'coding';

/** Bytes that decompression may still produce for one message. */
export interface InflateBudget {
  left: number;
  /** Streams that may still be opened. */
  opens: number;
  /** Why `left` is less than it would be; told when it does not suffice. */
  readonly cap?: InflateCap;
}

/** What may be unpacked here and now. */
export interface InflateCap {
  readonly bytes: number;
  reached: boolean;
}

/** Each stream costs a decompressor of its own, 30 to 60 µs; beyond this many a message is too much to look into. */
export const OPENS_MAX = 1024;
/** A stream that breaks uses up this part of what is left: all of them together cost at most so many times the budget. */
const BAD_SHARE = 64;

export interface Unpacked {
  readonly views: readonly Uint8Array[];
  readonly problem?: Problem;
}

type Inflater = (data: Uint8Array, options: zlib.ZlibOptions) => Buffer;
type InflateResult =
  | { readonly state: 'ok'; readonly bytes: Uint8Array }
  | { readonly state: 'size' | 'bad' };

/** RFC 1952 §2.3.1: magic, the one method, and the three reserved flags at 0. */
const GZIP = Buffer.from([0x1f, 0x8b, 0x08]);
const GZIP_FLAGS = 0x1f;
/** PKWARE APPNOTE 4.3.7: a local file header, 30 bytes and two names. */
const ZIP = Buffer.from('PK\u0003\u0004', 'latin1');
const ZIP_HEAD = 30;
const ZIP_DEFLATE = 8;
/** Random data looks like the beginning of a gzip stream once in 128 MiB. */
const BAD_MAX = 16;

/** What no decoder of Node 20 opens: zstd, xz, bzip2, 7z, rar, lz4. */
const OPAQUE: readonly Buffer[] = [
  '28b52ffd',
  'fd377a585a00',
  ...Array.from('123456789', (level) => `425a683${level}314159265359`),
  '377abcaf271c',
  '526172211a07',
  '04224d18',
].map((hex) => Buffer.from(hex, 'hex'));

/** True when the bytes begin as a container that this module opens. `surely`: not by two bytes alone. */
export function isContainer(data: Uint8Array, surely: boolean): boolean {
  return startsGzip(data, 0) || startsZip(data, 0) || (!surely && startsZlib(data));
}

/** True when the bytes begin as a container that it cannot open. */
export function isOpaque(data: Uint8Array): boolean {
  return OPAQUE.some((magic) => magic[0] === data[0] && magic.every((byte, i) => data[i] === byte));
}

/** RFC 1950 §2.2, with the window sizes that are in use. Text may begin with "x^" too: it then fails to inflate. */
function startsZlib(data: Uint8Array): boolean {
  const [first = 0, second = 0] = data;
  return first === 0x78 && ((first << 8) | second) % 31 === 0 && data.length > 8;
}

/** Opens gzip and zip wherever they begin in the bytes, and zlib at their start. What is broken is read as far as it goes. */
export function unpack(data: Uint8Array, budget: InflateBudget): Unpacked {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  const zip = unpackZip(bytes, budget);
  if (zip.problem === 'size') return zip;
  const gzip = unpackGzip(bytes, budget);
  const views = [...zip.views, ...gzip.views];
  const problem = gzip.problem ?? zip.problem;
  if (startsZlib(data)) {
    const plain = inflate(zlib.inflateRawSync, data.subarray(2), budget, true);
    if (plain.state === 'ok') views.push(plain.bytes);
    if (plain.state === 'size') return { views, problem: 'size' };
  }
  return problem === undefined ? { views } : { views, problem };
}

function unpackGzip(bytes: Buffer, budget: InflateBudget): Unpacked {
  const views: Uint8Array[] = [];
  let bad = 0;
  for (let at = bytes.indexOf(GZIP); at !== -1; at = bytes.indexOf(GZIP, at + GZIP.length)) {
    if (!startsGzip(bytes, at)) continue;
    const start = deflateStart(bytes, at);
    // Raw deflate ends by itself, so that what follows in the message does no harm.
    const plain = inflate(zlib.inflateRawSync, bytes.subarray(start), budget, true);
    if (plain.state === 'size') return { views, problem: 'size' };
    if (plain.state === 'ok') views.push(plain.bytes);
    else if (++bad > BAD_MAX) return { views, problem: 'coding' };
  }
  return { views };
}

/** Behind the header of a gzip member: the optional fields of RFC 1952 §2.3. */
function deflateStart(bytes: Buffer, at: number): number {
  const flags = bytes[at + 3] ?? 0;
  let next = at + 10;
  if ((flags & 4) !== 0) next += 2 + (bytes[next] ?? 0) + ((bytes[next + 1] ?? 0) << 8);
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue;
    const end = bytes.indexOf(0, next);
    next = end === -1 ? bytes.length : end + 1;
  }
  return (flags & 2) === 0 ? next : next + 2;
}

/** Reads local headers, not the directory at the end: a reader that starts at the front sees these. Stored entries are in sight as they are. */
function unpackZip(bytes: Buffer, budget: InflateBudget): Unpacked {
  const views: Uint8Array[] = [];
  let problem: Problem | undefined;
  for (let at = bytes.indexOf(ZIP); at !== -1; at = bytes.indexOf(ZIP, at + ZIP.length)) {
    if (at + ZIP_HEAD > bytes.length) break;
    if (!startsZip(bytes, at)) continue;
    const method = bytes.readUInt16LE(at + 8);
    const encrypted = (bytes.readUInt16LE(at + 6) & 1) === 1;
    if (encrypted || (method !== 0 && method !== ZIP_DEFLATE)) problem = 'coding';
    if (encrypted || method !== ZIP_DEFLATE) continue;
    const start = at + ZIP_HEAD + bytes.readUInt16LE(at + 26) + bytes.readUInt16LE(at + 28);
    const plain = inflate(zlib.inflateRawSync, bytes.subarray(start), budget, true);
    if (plain.state === 'size') return { views, problem: 'size' };
    if (plain.state === 'ok') views.push(plain.bytes);
  }
  return problem === undefined ? { views } : { views, problem };
}

/** Undoes one declared content coding (RFC 9110 §8.4.1), to the last byte. */
export function undoCoding(coding: string, data: Uint8Array, budget: InflateBudget): Uint8Array | Problem {
  const result = inflateAs(coding, data, budget);
  if (result.state === 'ok') return result.bytes;
  return result.state === 'size' ? 'size' : 'coding';
}

function inflateAs(coding: string, data: Uint8Array, budget: InflateBudget): InflateResult {
  if (data.length === 0) return { state: 'ok', bytes: data };
  if (coding === 'gzip' || coding === 'x-gzip') return inflate(zlib.gunzipSync, data, budget, false);
  if (coding === 'br') return inflate(zlib.brotliDecompressSync, data, budget, false);
  if (coding !== 'deflate') return { state: 'bad' };
  const wrapped = inflate(zlib.inflateSync, data, budget, false);
  // Many senders leave the zlib wrapper out, and many receivers let them.
  return wrapped.state === 'bad' ? inflate(zlib.inflateRawSync, data, budget, false) : wrapped;
}

function inflate(with_: Inflater, data: Uint8Array, budget: InflateBudget, lenient: boolean): InflateResult {
  if (budget.left <= 0 || budget.opens-- <= 0) return tooMuch(budget);
  const flush = lenient ? { finishFlush: zlib.constants.Z_SYNC_FLUSH } : {};
  try {
    const bytes = with_(data, { maxOutputLength: budget.left, ...flush });
    budget.left -= bytes.length;
    return { state: 'ok', bytes };
  } catch (error) {
    const large = error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE';
    // It may have failed at its very end, and many heads may lead to the same stream.
    budget.left -= Math.ceil(budget.left / BAD_SHARE);
    return large ? tooMuch(budget) : { state: 'bad' };
  }
}

function tooMuch({ cap }: InflateBudget): InflateResult {
  if (cap !== undefined) cap.reached = true;
  return { state: 'size' };
}

/** Magic, flags, extra flags (RFC 1952 §2.3.1: 0, 2, 4) and operating system (0 to 13, 255): seldom all right by chance. */
function startsGzip(data: Uint8Array, at: number): boolean {
  if (!GZIP.every((byte, i) => data[at + i] === byte) || (data[at + 3] ?? 0xff) > GZIP_FLAGS) return false;
  const extra = data[at + 8] ?? 0xff;
  const system = data[at + 9] ?? 0xfe;
  return extra <= 4 && (system <= 13 || system === 255);
}

/** A version that exists, a method that exists, and a name: programs that write zip files hold the magic too. */
function startsZip(data: Uint8Array, at: number): boolean {
  if (!ZIP.every((byte, i) => data[at + i] === byte)) return false;
  const word = (offset: number): number =>
    (data[at + offset] ?? 0xff) | ((data[at + offset + 1] ?? 0xff) << 8);
  const name = word(26);
  return (
    (word(4) & 0xff) <= 63 && word(8) <= 99 && name > 0 && name <= 4096 && (data[at + ZIP_HEAD] ?? 0) >= 0x20
  );
}
