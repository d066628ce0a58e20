import { CAPS } from '../../base/caps.ts';
import { pathFromBytes } from '../../base/path-bytes.ts';
import { invalid, tooLarge } from '../invalid.ts';
import { BLOCK, isEnd, parseHeader, type TarHeader } from './header.ts';
import { parsePax, sparse, type PaxFields } from './pax.ts';
import { ByteSource } from './source.ts';

export type TarEntryType = 'file' | 'dir' | 'symlink' | 'hardlink' | 'device' | 'fifo';

/** One entry. `name` and `link` are as written: nothing about them is checked yet. */
export interface TarEntry {
  readonly type: TarEntryType;
  readonly name: string;
  readonly link: string;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly size: number;
  /** Seconds since the epoch, with a fraction. */
  readonly mtime: number;
  /** The content, valid until the next chunk; what is left unread is passed over. */
  readonly body: AsyncIterable<Buffer>;
}

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'device',
  '4': 'device',
  '5': 'dir',
  '6': 'fifo',
  '7': 'file',
};

/** Zeros after the end: tar(1) fills a block of 10 KiB, tapes had larger ones. */
const PADDING_MAX = 16 * 1024 * 1024;

/** What headers before an entry say about it. */
interface Pending extends PaxFields {
  gnuName?: string;
  gnuLink?: string;
  headers: number;
}

/**
 * Reads a tar archive (ustar, pax, GNU) as a stream of entries. Nothing is held but one extended header.
 *
 * @throws E_IMAGE_INVALID for what is no archive, is damaged or ends early, E_IMAGE_TOO_LARGE
 */
export async function* readTar(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry, void, void> {
  const source = new ByteSource(chunks);
  try {
    let pending: Pending = { headers: 0 };
    for (;;) {
      const block = await source.exactly(BLOCK);
      if (block === undefined) throw invalid('the archive is cut short', 'its end marker is missing');
      if (isEnd(block)) break;
      const header = parseHeader(block);
      if (await readExtension(source, header, pending)) continue;
      const type = typeOf(header, pending);
      // Whatever the size field says: as Go's archive/tar and with it every container engine reads it.
      const body = new Body(source, type === 'file' ? (pending.size ?? header.size) : 0);
      yield entryOf(type, header, pending, body);
      await body.finish();
      pending = { headers: 0 };
    }
    await source.drain(PADDING_MAX);
  } finally {
    await source.close();
  }
}

function typeOf(header: TarHeader, pending: Pending): TarEntryType {
  if (header.flag === 'S') throw sparse();
  const type = TYPES[header.flag];
  if (type === undefined)
    throw invalid(`the archive holds an entry of unknown type ${JSON.stringify(header.flag)}`);
  // Before ustar a directory was an empty file whose name ends in a slash.
  const isOldDir = type === 'file' && nameOf(header, pending).endsWith('/') && header.size === 0;
  return isOldDir ? 'dir' : type;
}

const nameOf = (header: TarHeader, pending: Pending): string =>
  pending.path ?? pending.gnuName ?? header.name;

function entryOf(type: TarEntryType, header: TarHeader, pending: Pending, body: Body): TarEntry {
  return {
    type,
    name: nameOf(header, pending),
    link: pending.linkpath ?? pending.gnuLink ?? header.link,
    mode: header.mode,
    size: body.size,
    mtime: pending.mtime ?? header.mtime,
    body,
  };
}

/** True when the header was about the next entry. */
async function readExtension(source: ByteSource, header: TarHeader, pending: Pending): Promise<boolean> {
  switch (header.flag) {
    case 'x':
      Object.assign(pending, parsePax(await readContent(source, header, pending)));
      return true;
    case 'g':
      refuseGlobal(parsePax(await readContent(source, header, pending)));
      return true;
    case 'L':
      pending.gnuName = longName(await readContent(source, header, pending));
      return true;
    case 'K':
      pending.gnuLink = longName(await readContent(source, header, pending));
      return true;
    default:
      return false;
  }
}

/** One name or size for all entries makes no sense, and tools differ in what they make of it. */
function refuseGlobal(fields: PaxFields): void {
  if (fields.path !== undefined || fields.linkpath !== undefined || fields.size !== undefined)
    throw invalid('the archive is damaged', 'a global header names a path or size');
}

async function readContent(source: ByteSource, header: TarHeader, pending: Pending): Promise<Buffer> {
  if (++pending.headers > CAPS.imageHeaders)
    throw tooLarge('an entry of the archive has too many headers', `at most ${CAPS.imageHeaders}`);
  if (header.size > CAPS.imageHeaderBytes)
    throw tooLarge(
      'an extended header of the archive is too large',
      `${header.size} bytes, at most ${CAPS.imageHeaderBytes}`,
    );
  if (header.size === 0) return Buffer.alloc(0);
  const found = await source.exactly(header.size);
  if (found === undefined) throw invalid('the archive is cut short', 'it ends in an extended header');
  const bytes = Buffer.from(found);
  await source.skip(padding(header.size));
  return bytes;
}

function longName(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return pathFromBytes(end === -1 ? bytes : bytes.subarray(0, end));
}

const padding = (size: number): number => (BLOCK - (size % BLOCK)) % BLOCK;

class Body implements AsyncIterable<Buffer> {
  readonly size: number;
  readonly #source: ByteSource;
  #left: number;

  constructor(source: ByteSource, size: number) {
    this.#source = source;
    this.size = size;
    this.#left = size;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, void> {
    while (this.#left > 0) {
      const chunk = await this.#source.some(this.#left);
      if (chunk === undefined) throw invalid('the archive is cut short', 'it ends in the middle of a file');
      this.#left -= chunk.length;
      yield chunk;
    }
  }

  /** Passes over what was not read, and the padding. */
  async finish(): Promise<void> {
    await this.#source.skip(this.#left + padding(this.size));
    this.#left = 0;
  }
}
