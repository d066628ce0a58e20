import { CAPS } from '../base/caps.ts';
import { pathFromBytes } from '../base/path-bytes.ts';
import type { EntryType, FileEntry, ListeningPort, SandboxProcess, WatchEvent } from './files-contract.ts';
import { protocolError } from './frames.ts';
import { DONE_FLAG, DONE_TAG, OVERFLOW_KIND } from './numbers.ts';
import { TlvRecord } from './tlv.ts';

/** u16 tag, u32 length; little-endian. */
const RECORD_HEADER_BYTES = 6;
const ENTRY_HEAD_BYTES = 40;
const EVENT_HEAD_BYTES = 6;
const PROCESS_HEAD_BYTES = 52;
const PORT_BYTES = 32;

export interface WorkRecord {
  readonly tag: number;
  readonly value: Buffer;
}

/** Splits the data of a work stream into records. The input is hostile: no record is longer than a frame. */
export class RecordReader {
  #rest: Buffer = Buffer.alloc(0);

  /** The records that are complete with this chunk. Throws `E_PROTOCOL`. */
  *push(chunk: Buffer): Generator<WorkRecord, void, undefined> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= RECORD_HEADER_BYTES) {
      const length = bytes.readUInt32LE(at + 2);
      if (length > CAPS.framePayloadBytes) throw protocolError(`a record claims ${length} bytes`);
      const start = at + RECORD_HEADER_BYTES;
      if (bytes.length - start < length) break;
      at = start + length;
      yield { tag: bytes.readUInt16LE(start - RECORD_HEADER_BYTES), value: bytes.subarray(start, at) };
    }
    this.#rest = bytes.subarray(at);
  }

  /** Throws `E_PROTOCOL` when the data ended inside a record. */
  end(): void {
    if (this.#rest.length > 0) throw protocolError('a record is cut off');
  }
}

/** By their numbers, see `ENTRY_TYPE`. */
const ENTRY_TYPES: readonly (EntryType | undefined)[] = [
  undefined,
  'file',
  'dir',
  'symlink',
  'fifo',
  'socket',
  'char',
  'block',
];

function entryType(value: number): EntryType {
  const type = ENTRY_TYPES[value];
  if (type === undefined) throw protocolError(`an entry of type ${value}`);
  return type;
}

/** What an entry says beside its place. */
export interface EntryFacts extends Omit<FileEntry, 'name' | 'path'> {
  /** Below the listed directory; empty when one object was asked for. */
  readonly below: Buffer;
}

/** An entry as the agent writes it, see docs/design/agent-protocol.md. Throws `E_PROTOCOL`. */
export function readEntry(value: Buffer): EntryFacts {
  if (value.length < ENTRY_HEAD_BYTES) throw protocolError('an entry is cut off');
  const pathBytes = value.readUInt16LE(2);
  const targetBytes = value.readUInt16LE(4);
  if (value.length !== ENTRY_HEAD_BYTES + pathBytes + targetBytes) throw protocolError('a malformed entry');
  const below = value.subarray(ENTRY_HEAD_BYTES, ENTRY_HEAD_BYTES + pathBytes);
  const target = value.subarray(ENTRY_HEAD_BYTES + pathBytes);
  const type = entryType(value.readUInt8(0));
  const led = value.readUInt8(1);
  const mode = value.readUInt32LE(8);
  const nanoseconds = value.readUInt32LE(20);
  if (mode > 0o7777 || nanoseconds >= 1e9) throw protocolError('an impossible mode or time');
  return {
    type,
    ...(led === 0 ? {} : { leadsTo: entryType(led) }),
    ...(type === 'symlink' ? { target: pathFromBytes(target) } : {}),
    // A sandbox may make a file of 8 EiB or from the year 200,000,000: it is shown as the nearest that a number can say.
    size: Math.min(Number(value.readBigUInt64LE(24)), Number.MAX_SAFE_INTEGER),
    mode,
    uid: value.readUInt32LE(12),
    gid: value.readUInt32LE(16),
    mtimeMs: clampTime(Number(value.readBigInt64LE(32)) * 1000 + Math.floor(nanoseconds / 1e6)),
    below,
  };
}

/** The entry of a listing. @throws E_PROTOCOL for a name that could not be one below the directory */
export function listedEntry(value: Buffer, directory: string): FileEntry {
  const { below, ...facts } = readEntry(value);
  const relative = plainPath(below);
  const name = relative.slice(relative.lastIndexOf('/') + 1);
  return {
    name,
    path: directory.endsWith('/') ? directory + relative : `${directory}/${relative}`,
    ...facts,
  };
}

/** The entry of the object that was asked for. */
export function namedEntry(value: Buffer, path: string): FileEntry {
  const { below, ...facts } = readEntry(value);
  if (below.length > 0) throw protocolError('an entry of another object');
  const trimmed = path.replace(/\/+$/, '');
  return { name: trimmed === '' ? '/' : trimmed.slice(trimmed.lastIndexOf('/') + 1), path, ...facts };
}

/** A path below a directory that could exist: no empty, "." or ".." segment, no NUL byte. */
function plainPath(bytes: Buffer): string {
  const path = pathFromBytes(bytes);
  const odd = path.split('/').some((name) => name === '' || name === '.' || name === '..');
  if (odd || bytes.includes(0)) throw protocolError('a path that leads out of its directory');
  return path;
}

/** What a Date can hold (ECMA-262, Time Values and Time Range). */
const TIME_MAX_MS = 8.64e15;

const clampTime = (ms: number): number => Math.max(-TIME_MAX_MS, Math.min(TIME_MAX_MS, ms));

function safe(value: bigint): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw protocolError('a number out of range');
  return number;
}

/** By their numbers, see `EVENT_KIND`. */
const EVENT_TYPES = [undefined, 'create', 'write', 'remove', 'rename', 'chmod'] as const;

export function readEvent(value: Buffer): WatchEvent {
  if (value.length < EVENT_HEAD_BYTES) throw protocolError('an event is cut off');
  const first = value.readUInt16LE(2);
  const second = value.readUInt16LE(4);
  const type = EVENT_TYPES[value.readUInt8(0)];
  const rename = type === 'rename';
  if (type === undefined || value.length !== EVENT_HEAD_BYTES + first + second || rename !== second > 0)
    throw protocolError('a malformed event');
  const directory = entryType(value.readUInt8(1)) === 'dir';
  const path = plainPath(value.subarray(EVENT_HEAD_BYTES, EVENT_HEAD_BYTES + first));
  if (type === 'rename')
    return { type, path, to: plainPath(value.subarray(EVENT_HEAD_BYTES + first)), directory };
  return { type, path, directory };
}

export function readOverflow(value: Buffer): WatchEvent {
  const of = value.length === 1 ? value.readUInt8() : 0;
  if (of === OVERFLOW_KIND.queue) return { type: 'overflow', of: 'queue' };
  if (of === OVERFLOW_KIND.watches) return { type: 'overflow', of: 'watches' };
  throw protocolError('a malformed overflow');
}

export function readProcess(value: Buffer): SandboxProcess {
  if (value.length < PROCESS_HEAD_BYTES) throw protocolError('a process is cut off');
  const nameBytes = value.readUInt16LE(22);
  const argvBytes = value.readUInt32LE(48);
  if (value.length !== PROCESS_HEAD_BYTES + nameBytes + argvBytes) throw protocolError('a malformed process');
  const argv = value.subarray(PROCESS_HEAD_BYTES + nameBytes);
  const stream = value.readUInt32LE(12);
  const state = String.fromCharCode(value.readUInt8(20));
  if (!/^[A-Za-z]$/.test(state)) throw protocolError('an impossible process state');
  return {
    pid: value.readUInt32LE(0),
    ppid: value.readUInt32LE(4),
    session: value.readUInt32LE(8),
    stream: stream === 0 ? undefined : stream,
    uid: value.readUInt32LE(16),
    state,
    name: pathFromBytes(value.subarray(PROCESS_HEAD_BYTES, PROCESS_HEAD_BYTES + nameBytes)),
    argv: words(argv),
    argvCut: (value.readUInt8(21) & 1) !== 0,
    startedMs: safe(value.readBigUInt64LE(24)),
    rssBytes: safe(value.readBigUInt64LE(32)),
    cpuUs: safe(value.readBigUInt64LE(40)),
  };
}

/** Arguments end with a NUL byte each; a program that writes over its own may leave it out. */
function words(bytes: Buffer): string[] {
  const out: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(0, at);
    out.push(pathFromBytes(bytes.subarray(at, end === -1 ? bytes.length : end)));
    at = end === -1 ? bytes.length : end + 1;
  }
  return out;
}

export function readPort(value: Buffer): ListeningPort {
  const family = value.length === PORT_BYTES ? value.readUInt8(2) : 0;
  if (family !== 4 && family !== 6) throw protocolError('a malformed port');
  const address =
    family === 4
      ? [...value.subarray(16, 20)].join('.')
      : Array.from({ length: 8 }, (_, i) => value.readUInt16BE(16 + i * 2).toString(16)).join(':');
  return { port: value.readUInt16LE(0), address, uid: value.readUInt32LE(4) };
}

/** How work ended. */
export interface WorkResult {
  /** 0 when it was done. */
  readonly errno: number;
  /** What failed, in one word. */
  readonly step: string;
  /** Bytes of content that were read or written. */
  readonly bytes: number;
  readonly count: number;
  readonly truncated: boolean;
  readonly created: boolean;
  readonly unreadable: boolean;
  /** Status of the object afterwards. */
  readonly entry: Buffer | undefined;
  /** The child that did it was killed by this signal; 0 when not. */
  readonly signal: number;
}

/** The payload of DONE. Throws `E_PROTOCOL`. */
export function readDone(payload: Buffer): WorkResult {
  const record = new TlvRecord(payload);
  const flags = record.u32(DONE_TAG.flags);
  return {
    errno: record.u32(DONE_TAG.errno),
    step: record.label(DONE_TAG.step, 32),
    bytes: record.u64(DONE_TAG.bytes),
    count: record.u64(DONE_TAG.count),
    truncated: (flags & DONE_FLAG.truncated) !== 0,
    created: (flags & DONE_FLAG.created) !== 0,
    unreadable: (flags & DONE_FLAG.unreadable) !== 0,
    entry: record.bytes(DONE_TAG.entry),
    signal: record.u32(DONE_TAG.signal, 0),
  };
}
