import { gzipSync } from 'node:zlib';

/** One entry of a tar archive, as wrong as a test wants it. */
export interface TarSpec {
  readonly name: string | Buffer;
  /** The flag of the header; default: a directory when the name ends in a slash, else a file. */
  readonly flag?: string;
  readonly link?: string;
  readonly content?: string | Uint8Array;
  readonly mode?: number;
  /** Seconds since the epoch. */
  readonly mtime?: number;
  /** What the header says; default the real one. */
  readonly size?: number;
}

const BLOCK = 512;

/** A tar archive with these entries and an end. */
export function tarOf(entries: readonly TarSpec[]): Buffer {
  return Buffer.concat([...entries.map(entryBytes), Buffer.alloc(2 * BLOCK)]);
}

export const tgzOf = (entries: readonly TarSpec[]): Buffer => gzipSync(tarOf(entries));

/** One header and content, without an end; `pax` and long names are written where they are needed. */
export function entryBytes(spec: TarSpec): Buffer {
  const name = Buffer.from(spec.name);
  const link = Buffer.from(spec.link ?? '');
  const content = Buffer.from(spec.content ?? '');
  const long = [
    ...(name.length > 100
      ? [
          plain({
            ...spec,
            name: '././@LongLink',
            flag: 'L',
            content: Buffer.concat([name, Buffer.alloc(1)]),
          }),
        ]
      : []),
    ...(link.length > 100
      ? [
          plain({
            ...spec,
            name: '././@LongLink',
            flag: 'K',
            content: Buffer.concat([link, Buffer.alloc(1)]),
          }),
        ]
      : []),
  ];
  return Buffer.concat([
    ...long,
    plain({ ...spec, name: name.subarray(0, 100), link: link.toString().slice(0, 100), content }),
  ]);
}

/** A pax header of records for the next entry. */
export function pax(records: Readonly<Record<string, string>>): TarSpec {
  const content = Object.entries(records).map(([key, value]) => paxRecord(key, value));
  return { name: 'PaxHeaders/0', flag: 'x', content: Buffer.concat(content) };
}

function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function plain(spec: TarSpec): Buffer {
  const name = Buffer.from(spec.name);
  const content = Buffer.from(spec.content ?? '');
  const isDir = name.at(-1) === 0x2f;
  const header = Buffer.alloc(BLOCK);
  name.copy(header, 0);
  const octal = (value: number, at: number, length: number): void =>
    void header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  octal(spec.mode ?? (isDir ? 0o755 : 0o644), 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  const size = spec.size ?? content.length;
  if (size < 8 ** 11) octal(size, 124, 12);
  else largeNumber(header, size, 124);
  octal(spec.mtime ?? 1_700_000_000, 136, 12);
  header.write(spec.flag ?? (isDir ? '5' : '0'), 156, 'latin1');
  header.write(spec.link ?? '', 157, 'utf8');
  header.write('ustar\x0000', 257, 'latin1');
  header.fill(0x20, 148, 156);
  octal(
    header.reduce((sum, byte) => sum + byte, 0),
    148,
    8,
  );
  return Buffer.concat([header, content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

/** Base 256, as GNU tar writes what octal digits cannot hold. */
function largeNumber(header: Buffer, value: number, at: number): void {
  header[at] = 0x80;
  header.writeBigUInt64BE(BigInt(value), at + 4);
}
