import { createHash } from 'node:crypto';
import { canonicalJson } from '../base/canonical-json.ts';
import { CAPS } from '../base/caps.ts';

/**
 * What a terminal or a reader of text could take for a command: C0 except tab and newline, DEL, C1, marks that reorder or hide text,
 * and halves of surrogate pairs.
 */
const UNSAFE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Nearly all text is this, and told much faster. */
const PLAIN = /^[\t\n\x20-\x7e]*$/;

/** Text with every unsafe character spelled out as `\u{9b}`: what happened stays readable and harmless. */
export function visible(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replace(UNSAFE, (character) => `\\u{${character.charCodeAt(0).toString(16)}}`);
}

/** Like `visible`, in one line. */
export function visibleLine(text: string): string {
  return visible(text).replaceAll('\n', '\\n').replaceAll('\t', '\\t');
}

/** Longest string and longest list that is kept; tried in turn until the payload fits. */
const CUTS = [
  { characters: 16_384, items: 1000 },
  { characters: 4096, items: 500 },
  { characters: 512, items: 200 },
  { characters: 64, items: 50 },
] as const;

/** Room for the fields of a record beside its payload. */
const ENVELOPE_BYTES = 1024;
/** Deeper payloads are no payloads of ours. */
const MAX_DEPTH = 8;

/** The payload of a record as canonical JSON: harmless characters, cut and marked where it is too long for a line. */
export function payloadJson(data: Readonly<Record<string, unknown>>): string {
  const limit = CAPS.auditLineBytes - ENVELOPE_BYTES;
  for (const cut of CUTS) {
    const text = canonicalJson(clean(data, cut, 0));
    if (Buffer.byteLength(text) <= limit) return text;
  }
  const sha256 = createHash('sha256').update(safeJson(data)).digest('hex');
  return canonicalJson({ cut: true, sha256 });
}

interface Cut {
  readonly characters: number;
  readonly items: number;
}

function clean(value: unknown, cut: Cut, depth: number): unknown {
  if (typeof value === 'string') return cutText(visible(value), cut.characters);
  if (typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value)))
    return String(value);
  if (typeof value !== 'object' || value === null) {
    return typeof value === 'function' || typeof value === 'symbol' ? undefined : value;
  }
  if (depth >= MAX_DEPTH) return '[deeper levels cut]';
  if (Array.isArray(value)) return cleanList(value, cut, depth);
  const members: [string, unknown][] = [];
  for (const [key, member] of Object.entries(value)) {
    if (members.length === cut.items) break;
    members.push([cutText(visible(key), cut.characters), clean(member, cut, depth + 1)]);
  }
  return Object.fromEntries(members);
}

function cleanList(list: readonly unknown[], cut: Cut, depth: number): unknown[] {
  const kept = list.slice(0, cut.items).map((item) => clean(item, cut, depth + 1));
  return list.length > cut.items ? [...kept, `[${list.length - cut.items} more cut]`] : kept;
}

function cutText(text: string, characters: number): string {
  if (text.length <= characters) return text;
  return `${visible(text.slice(0, characters))}[${text.length - characters} more characters cut]`;
}

function safeJson(data: Readonly<Record<string, unknown>>): string {
  return canonicalJson(clean(data, { characters: Infinity, items: Infinity }, 0));
}
