import { pathFromBytes } from '../../base/path-bytes.ts';
import { invalid } from '../invalid.ts';

export const BLOCK = 512;

/** The fields of one header block that matter here. Owners and device numbers are not among them: nobody uses them. */
export interface TarHeader {
  /** One character (POSIX.1-2017 pax, "ustar Interchange Format"; GNU `L`, `K`, `S`). */
  readonly flag: string;
  readonly name: string;
  readonly link: string;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  /** Bytes of content. */
  readonly size: number;
  /** Seconds since the epoch. */
  readonly mtime: number;
}

/** True for a block of zeros, which ends an archive. */
export function isEnd(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** Reads one header. Pure. @throws E_IMAGE_INVALID */
export function parseHeader(block: Buffer): TarHeader {
  checkSum(block);
  const prefix = isUstar(block) ? text(block, 345, 155) : '';
  const name = text(block, 0, 100);
  return {
    flag: block[156] === 0 ? '0' : String.fromCharCode(block[156] ?? 0),
    name: prefix === '' ? name : `${prefix}/${name}`,
    link: text(block, 157, 100),
    mode: number(block, 100, 8, 'mode') & 0o7777,
    size: number(block, 124, 12, 'size'),
    mtime: number(block, 136, 12, 'time'),
  };
}

/** GNU tar writes `ustar  \0` and uses the prefix field otherwise. */
function isUstar(block: Buffer): boolean {
  return block.toString('latin1', 257, 263) === 'ustar\0';
}

function checkSum(block: Buffer): void {
  const said = number(block, 148, 8, 'checksum');
  let sum = 8 * 32;
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i > 155) sum += block[i] ?? 0;
  if (said !== sum)
    throw invalid('this is not a tar archive, or it is damaged', 'a header has a wrong checksum');
}

function text(block: Buffer, at: number, length: number): string {
  const field = block.subarray(at, at + length);
  const end = field.indexOf(0);
  return pathFromBytes(end === -1 ? field : field.subarray(0, end));
}

/** Octal text, or base 256 with the highest bit set (GNU tar manual, "Large or Negative Values"). */
function number(block: Buffer, at: number, length: number, what: string): number {
  const field = block.subarray(at, at + length);
  const lead = field[0] ?? 0;
  if ((lead & 0x80) !== 0) return base256(field, what);
  const digits = field
    .toString('latin1')
    .replace(/^[ \0]+/, '')
    .replace(/[ \0].*$/s, '');
  if (!/^[0-7]*$/.test(digits)) throw invalid('the archive is damaged', `a header has no ${what}`);
  return digits === '' ? 0 : Number.parseInt(digits, 8);
}

function base256(field: Buffer, what: string): number {
  let value = (field[0] ?? 0) & 0x7f;
  // Only a time may be before 1970; it counts as then.
  if ((value & 0x40) !== 0 && what === 'time') return 0;
  for (const byte of field.subarray(1)) value = value * 256 + byte;
  if (!Number.isSafeInteger(value))
    throw invalid('the archive is damaged', `a header has an impossible ${what}`);
  return value;
}
