/** An IP address: its bytes (4 or 16) and the one text form, RFC 5952 for IPv6. */
export interface IpAddress {
  readonly version: 4 | 6;
  readonly bytes: readonly number[];
  readonly text: string;
}

/** The longest text form of an address: eight groups with an embedded dotted quad (RFC 4291 §2.2). */
const TEXT_MAX = 45;

/**
 * Reads an IP literal: a strict dotted quad, or an IPv6 address as in RFC 4291 §2.2. No zone id, no brackets, no `inet_aton`
 * spelling (`127.1`, `0x7f000001`, leading zeros): those are neither addresses nor names here.
 */
export function parseIp(text: string): IpAddress | undefined {
  if (text.length > TEXT_MAX) return undefined;
  if (!text.includes(':')) {
    const bytes = parseQuad(text);
    return bytes === undefined ? undefined : { version: 4, bytes, text: bytes.join('.') };
  }
  const groups = parseGroups(text);
  if (groups === undefined) return undefined;
  return {
    version: 6,
    bytes: groups.flatMap((group) => [group >> 8, group & 0xff]),
    text: formatGroups(groups),
  };
}

/** The address that a socket reports, with an IPv4-mapped form (RFC 4291 §2.5.5.2) turned back into IPv4. */
export function parseSocketAddress(text: string): IpAddress | undefined {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(text);
  return parseIp(mapped?.[1] ?? text);
}

/** The same for the bytes of a socket address (4 or 16, network order); undefined for any other length. */
export function addressFromBytes(bytes: Uint8Array): IpAddress | undefined {
  if (bytes.length === 4) return parseIp(bytes.join('.'));
  if (bytes.length !== 16) return undefined;
  const isMapped =
    bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (isMapped) return addressFromBytes(bytes.subarray(12));
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  return parseIp(groups.map((group) => group.toString(16)).join(':'));
}

/** IPv4 as a 32-bit number, for ranges. */
export function quadToNumber(bytes: readonly number[]): number {
  return bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}

/** The dotted quad of a 32-bit number. */
export function numberToQuad(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

function parseQuad(text: string): number[] | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  const bytes: number[] = [];
  for (const part of parts) {
    if (!/^(?:0|[1-9][0-9]{0,2})$/.test(part)) return undefined;
    const value = Number(part);
    if (value > 255) return undefined;
    bytes.push(value);
  }
  return bytes;
}

function parseGroups(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = [readSide(halves[0] ?? '', halves.length === 1), readSide(halves[1] ?? '', true)];
  if (head === undefined || tail === undefined) return undefined;
  if (halves.length === 1) return head.length === 8 ? head : undefined;
  const missing = 8 - head.length - tail.length;
  // "::" stands for at least one group (RFC 4291 §2.2).
  if (missing < 1) return undefined;
  return [...head, ...Array.from({ length: missing }, () => 0), ...tail];
}

function readSide(text: string, last: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (part.includes('.')) {
      const quad = last && index === parts.length - 1 ? parseQuad(part) : undefined;
      if (quad === undefined) return undefined;
      const [a = 0, b = 0, c = 0, d = 0] = quad;
      groups.push(a * 256 + b, c * 256 + d);
      continue;
    }
    if (!/^[0-9a-f]{1,4}$/i.test(part)) return undefined;
    groups.push(Number.parseInt(part, 16));
  }
  return groups.length > 8 ? undefined : groups;
}

/** RFC 5952 §4: lower case, no leading zeros, the first longest run of two or more zero groups compressed. */
function formatGroups(groups: readonly number[]): string {
  const run = longestZeroRun(groups);
  const words = groups.map((group) => group.toString(16));
  if (run.length < 2) return words.join(':');
  return `${words.slice(0, run.start).join(':')}::${words.slice(run.start + run.length).join(':')}`;
}

function longestZeroRun(groups: readonly number[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index - length + 1, length };
  }
  return best;
}
