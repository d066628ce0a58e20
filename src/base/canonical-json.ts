import { createHash } from 'node:crypto';

/**
 * One text for one value, after RFC 8785: keys sorted by UTF-16 code unit, no white space, `undefined` members left out.
 *
 * @throws TypeError for what JSON cannot hold: NaN, infinities, bigint, functions, symbols.
 */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') return canonicalNumber(value);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value === 'object') return canonicalObject(value);
  throw new TypeError(`canonical JSON cannot hold a ${typeof value}`);
}

/** SHA-256 of the canonical JSON, hex. */
export function canonicalHash(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}

function canonicalNumber(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`canonical JSON cannot hold ${value}`);
  return JSON.stringify(value);
}

function canonicalObject(value: object): string {
  const members = new Map<string, unknown>(Object.entries(value));
  let text = '';
  // Without a comparison of its own, `sort` goes by UTF-16 code units.
  for (const key of [...members.keys()].sort()) {
    const member = members.get(key);
    if (member === undefined) continue;
    text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}
