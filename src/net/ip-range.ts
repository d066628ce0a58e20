import type { IpAddress } from './ip.ts';
import { parseIp } from './ip.ts';

/** A block of addresses, `10.1.2.0/24` (RFC 4632 §3.1). */
export interface IpRange {
  readonly first: IpAddress;
  /** Length of the prefix: 0 to 32, or 128 for IPv6. */
  readonly bits: number;
  /** The one text form. */
  readonly text: string;
}

export type IpRangeResult =
  | { readonly ok: true; readonly range: IpRange }
  | { readonly ok: false; readonly why: string; readonly hint?: string };

/** Reads an address range. Refused: short or odd addresses, a prefix out of bounds, bits set behind the prefix. */
export function parseRange(text: string): IpRangeResult {
  const match = /^([^/]*)\/([0-9]{1,3})$/.exec(text);
  const first = parseIp(match?.[1] ?? '');
  if (match === null || first === undefined) return { ok: false, why: 'it is not an address range' };
  const bits = Number(match[2]);
  const most = first.version === 4 ? 32 : 128;
  if (bits > most || String(bits) !== match[2])
    return { ok: false, why: `its prefix length is not 0 to ${most}` };
  const base = masked(first, bits);
  if (base.text !== first.text)
    return {
      ok: false,
      why: `it has address bits behind its prefix`,
      hint: `write ${base.text}/${bits}`,
    };
  return { ok: true, range: { first, bits, text: `${first.text}/${bits}` } };
}

/** True when the address lies in the range. */
export function rangeHolds(range: IpRange, ip: IpAddress): boolean {
  return ip.version === range.first.version && masked(ip, range.bits).text === range.first.text;
}

/** The same for any of several ranges as text; what is no range holds nothing. */
export function anyRangeHolds(ranges: readonly string[], ip: IpAddress): boolean {
  return ranges.some((text) => {
    const parsed = parseRange(text);
    return parsed.ok && rangeHolds(parsed.range, ip);
  });
}

/** The last address of a range. */
export function lastOfRange(range: IpRange): IpAddress {
  const bytes = range.first.bytes.map((byte, i) => byte | (0xff >> hostShift(range.bits, i)));
  return withBytes(range.first.version, bytes);
}

function masked(ip: IpAddress, bits: number): IpAddress {
  const bytes = ip.bytes.map((byte, i) => byte & ~(0xff >> hostShift(bits, i)) & 0xff);
  return withBytes(ip.version, bytes);
}

/** How many leading bits of byte `index` belong to the prefix. */
function hostShift(bits: number, index: number): number {
  return Math.min(8, Math.max(0, bits - index * 8));
}

function withBytes(version: 4 | 6, bytes: readonly number[]): IpAddress {
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((bytes[i * 2] ?? 0) * 256 + (bytes[i * 2 + 1] ?? 0)).toString(16),
  );
  const text = version === 4 ? bytes.join('.') : groups.join(':');
  return parseIp(text) ?? { version, bytes, text };
}
