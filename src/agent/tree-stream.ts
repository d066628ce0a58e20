import { pathFromBytes } from '../base/path-bytes.ts';
import { protocolError } from './frames.ts';
import { TREE_OTHER, TREE_RECORD } from './numbers.ts';

/** Modes are permission bits and set-id bits, as in stat(2); times nanoseconds since the epoch. */
export interface TreeEntry {
  /** One component; bytes that are not UTF-8 as in `base/path-bytes.ts`. */
  readonly name: string;
  readonly mode: number;
  readonly mtimeNs: bigint;
}

/** Why a machine sends no more of something than its name. */
export type WhyOther = keyof typeof TREE_OTHER;

/** A part of a stream. A file is followed by its content and `close`, a directory by what is in it and `up`. */
export type TreeEvent =
  | { readonly kind: 'begin'; readonly last: boolean }
  | ({ readonly kind: 'dir' } & TreeEntry)
  | ({ readonly kind: 'file' } & TreeEntry)
  | ({ readonly kind: 'link'; readonly target: string } & TreeEntry)
  | { readonly kind: 'content'; readonly bytes: Buffer }
  | { readonly kind: 'close' | 'up' | 'end' }
  | { readonly kind: 'same'; readonly name: string }
  | { readonly kind: 'other'; readonly name: string; readonly why: WhyOther };

const HEAD = 14;
const NAME_MAX = 255;
const TARGET_MAX = 4095;
/** Bytes of one piece of a file's content; either side refuses more. */
export const PIECE_MAX: number = 64 * 1024;
/** Directories in each other. */
const DEPTH_MAX = 160;

type Kind = keyof typeof TREE_RECORD;

const KINDS: readonly Kind[] = ['dir', 'file', 'link', 'up', 'end', 'same', 'other', 'begin'];
const CODES: ReadonlyMap<number, Kind> = new Map(KINDS.map((kind) => [TREE_RECORD[kind], kind]));
const REASONS: ReadonlyMap<number, WhyOther> = new Map(
  (['special', 'unreadable', 'large', 'deep'] as const).map((why) => [TREE_OTHER[why], why]),
);

/** One record of a stream that goes into a machine; its mode has permission bits only. */
export function treeRecord(
  kind: Kind,
  name: Uint8Array = Buffer.alloc(0),
  { mode = 0, mtimeNs = 0n }: Partial<TreeEntry> = {},
): Buffer {
  const out = Buffer.alloc(HEAD + name.length);
  out.writeUInt8(TREE_RECORD[kind], 0);
  out.writeUInt16LE(mode & 0o777, 2);
  out.writeBigUInt64LE(BigInt.asUintN(64, mtimeNs > 0n ? mtimeNs : 0n), 4);
  out.writeUInt16LE(name.length, 12);
  out.set(name, HEAD);
  return out;
}

/** Behind the record of a link. */
export function linkTarget(target: Uint8Array): Buffer {
  const out = Buffer.alloc(2 + target.length);
  out.writeUInt16LE(target.length, 0);
  out.set(target, 2);
  return out;
}

/** A piece of a file's content; an empty one ends it. At most `PIECE_MAX` bytes. */
export function filePiece(bytes: Uint8Array): Buffer {
  const out = Buffer.alloc(4 + bytes.length);
  out.writeUInt32LE(bytes.length, 0);
  out.set(bytes, 4);
  return out;
}

type Waiting = 'begin' | 'record' | 'piece' | 'content';

/**
 * Takes the streams of a machine apart. It believes nothing: a name is one component that a directory may hold, nothing is longer than it may be,
 * directories are left as often as they are entered. Whatever else arrives is `E_PROTOCOL`.
 */
export class TreeDecoder {
  #pending: Buffer = Buffer.alloc(0);
  #waiting: Waiting = 'begin';
  #depth = 0;
  /** Bytes of a piece that are still to come. */
  #left = 0;

  /** True between the beginning of a stream and its end. */
  get isOpen(): boolean {
    return this.#waiting !== 'begin';
  }

  /** @throws E_PROTOCOL */
  *push(chunk: Buffer): Generator<TreeEvent, void, undefined> {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (let event = this.#next(); event !== undefined; event = this.#next()) yield event;
  }

  #next(): TreeEvent | undefined {
    switch (this.#waiting) {
      case 'piece':
        return this.#piece();
      case 'content':
        return this.#content();
      default:
        return this.#record();
    }
  }

  #take(bytes: number): Buffer {
    const taken = this.#pending.subarray(0, bytes);
    this.#pending = this.#pending.subarray(bytes);
    return taken;
  }

  #piece(): TreeEvent | undefined {
    if (this.#pending.length < 4) return undefined;
    this.#left = this.#take(4).readUInt32LE(0);
    if (this.#left > PIECE_MAX) throw malformed(`a piece of ${this.#left} bytes`);
    this.#waiting = this.#left === 0 ? 'record' : 'content';
    return this.#left === 0 ? { kind: 'close' } : this.#content();
  }

  #content(): TreeEvent | undefined {
    if (this.#pending.length === 0) return undefined;
    const bytes = this.#take(Math.min(this.#left, this.#pending.length));
    this.#left -= bytes.length;
    if (this.#left === 0) this.#waiting = 'piece';
    return { kind: 'content', bytes };
  }

  #record(): TreeEvent | undefined {
    if (this.#pending.length < HEAD) return undefined;
    const named = HEAD + this.#pending.readUInt16LE(12);
    if (named > HEAD + NAME_MAX) throw malformed(`a name of ${named - HEAD} bytes`);
    const kind = CODES.get(this.#pending.readUInt8(0));
    if (kind === undefined || (this.#waiting === 'begin') !== (kind === 'begin'))
      throw malformed(`record ${this.#pending.readUInt8(0)} where it does not belong`);
    const length = kind === 'link' ? this.#withTarget(named) : named;
    if (length === undefined || this.#pending.length < length) return undefined;
    return this.#made(kind, this.#take(length), named);
  }

  /** Length of a record with the target behind it; undefined until that can be told. */
  #withTarget(named: number): number | undefined {
    if (this.#pending.length < named + 2) return undefined;
    const target = this.#pending.readUInt16LE(named);
    if (target === 0 || target > TARGET_MAX) throw malformed(`a link of ${target} bytes`);
    return named + 2 + target;
  }

  #made(kind: Kind, record: Buffer, named: number): TreeEvent {
    const detail = record.readUInt8(1);
    const bytes = record.subarray(HEAD, named);
    if (kind === 'begin' || kind === 'end' || kind === 'up') {
      if (bytes.length > 0) throw malformed('a name where there is nothing to be named');
      return kind === 'begin' ? this.#begin(detail) : this.#leave(kind);
    }
    const name = nameOf(bytes);
    const entry = { name, mode: record.readUInt16LE(2) & 0o7777, mtimeNs: record.readBigUInt64LE(4) };
    if (kind === 'same') return { kind, name };
    if (kind === 'other') return { kind, name, why: REASONS.get(detail) ?? 'special' };
    if (kind === 'file') this.#waiting = 'piece';
    if (kind === 'dir' && ++this.#depth > DEPTH_MAX) throw malformed('directories too deep in each other');
    if (kind !== 'link') return { kind, ...entry };
    const target = record.subarray(named + 2);
    if (target.includes(0)) throw malformed('a link with a zero byte');
    return { kind, ...entry, target: pathFromBytes(target) };
  }

  #begin(detail: number): TreeEvent {
    this.#waiting = 'record';
    this.#depth = 0;
    return { kind: 'begin', last: detail !== 0 };
  }

  #leave(kind: 'end' | 'up'): TreeEvent {
    this.#depth -= kind === 'up' ? 1 : 0;
    if (this.#depth < 0 || (kind === 'end' && this.#depth > 0))
      throw malformed('a directory is left that was not entered, or not left at all');
    if (kind === 'end') this.#waiting = 'begin';
    return { kind };
  }
}

function nameOf(bytes: Buffer): string {
  const bad = bytes.length === 0 || bytes.includes(0) || bytes.includes(0x2f);
  const name = pathFromBytes(bytes);
  if (bad || name === '.' || name === '..') throw malformed('a name that no directory holds');
  return name;
}

const malformed = (what: string): Error => protocolError(`${what} in a stream of copied files`);
