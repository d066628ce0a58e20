import { pathFromBytes } from '../../base/path-bytes.ts';
import { invalid } from '../invalid.ts';

/** What an extended header says about the next entry. */
export interface PaxFields {
  path?: string;
  linkpath?: string;
  size?: number;
  mtime?: number;
}

const EQUALS = 0x3d;
const NEWLINE = 0x0a;
const SPACE = 0x20;

/** Reads the records `LENGTH KEY=VALUE\n` (POSIX.1-2017 pax, "pax Extended Header"). Pure. @throws E_IMAGE_INVALID */
export function parsePax(bytes: Buffer): PaxFields {
  const fields: PaxFields = {};
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(SPACE, at);
    const digits = bytes.toString('latin1', at, Math.max(at, Math.min(space, at + 10)));
    const length = /^[1-9][0-9]*$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    if (length < digits.length + 4 || end > bytes.length || bytes[end - 1] !== NEWLINE) throw broken();
    const equals = bytes.indexOf(EQUALS, space);
    if (equals === -1 || equals >= end) throw broken();
    setField(fields, bytes.toString('utf8', space + 1, equals), bytes.subarray(equals + 1, end - 1));
    at = end;
  }
  return fields;
}

function setField(fields: PaxFields, key: string, value: Buffer): void {
  if (key.startsWith('GNU.sparse.')) throw sparse();
  if (key === 'path') fields.path = name(value);
  if (key === 'linkpath') fields.linkpath = name(value);
  if (key === 'size') fields.size = numberOf(value, /^[0-9]{1,16}$/);
  if (key === 'mtime') fields.mtime = Math.max(0, numberOf(value, /^-?[0-9]{1,12}(?:\.[0-9]{1,12})?$/));
}

function name(value: Buffer): string {
  if (value.includes(0)) throw invalid('the archive is damaged', 'a name holds a zero byte');
  return pathFromBytes(value);
}

function numberOf(value: Buffer, pattern: RegExp): number {
  const text = value.toString('latin1');
  const found = pattern.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(found) || found > Number.MAX_SAFE_INTEGER) throw broken();
  return found;
}

const broken = (): Error => invalid('the archive is damaged', 'an extended header cannot be read');

/** The header says where the holes are, and the content leaves them out: nothing that an image needs. */
export function sparse(): Error {
  return invalid('the archive holds a sparse file', 'they are not supported; make it with plain files');
}
