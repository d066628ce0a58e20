/** One way in which a secret may be written. */
export interface SecretVariant {
  /** What it is called in records and tests: `raw`, `base64+1`, `hex`. */
  readonly spelling: string;
  readonly bytes: Uint8Array;
}

/** Shorter ones would be found by accident: 8 random bytes of text do not occur twice. */
const SHORTEST = 8;
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/**
 * All spellings in which a secret may travel: as it is, base64 and base32 at every alignment (the characters that do not depend on
 * the neighbours), percent-encoded, JSON-escaped, hex, UTF-16, HTML entities. Each is at least 8 bytes long; no two are equal.
 */
export function secretVariants(secret: Uint8Array): readonly SecretVariant[] {
  const raw = Buffer.from(secret);
  const all: readonly (readonly [string, string | Uint8Array])[] = [
    ['raw', raw],
    ...base64Forms(raw),
    ...base32Forms(raw),
    ['hex', raw.toString('hex')],
    ['hex-upper', raw.toString('hex').toUpperCase()],
    ...percentForms(raw),
    ...textForms(raw),
  ];
  const seen = new Set<string>();
  const variants: SecretVariant[] = [];
  for (const [spelling, form] of all) {
    const bytes = typeof form === 'string' ? Buffer.from(form, 'latin1') : form;
    const key = Buffer.from(bytes).toString('latin1');
    if (bytes.length < SHORTEST || seen.has(key)) continue;
    seen.add(key);
    variants.push({ spelling, bytes: Uint8Array.from(bytes) });
  }
  return variants;
}

/** What stays the same whatever stands before and behind: the characters made of the secret's bits alone. */
function stablePart(encoded: string, before: number, length: number, bitsPerLetter: number): string {
  const first = Math.ceil((before * 8) / bitsPerLetter);
  return encoded.slice(first, Math.floor(((before + length) * 8) / bitsPerLetter));
}

function base64Forms(raw: Buffer): (readonly [string, string])[] {
  return [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), raw]).toString('base64');
    const part = stablePart(text, before, raw.length, 6);
    return [
      [`base64+${before}`, part] as const,
      [`base64url+${before}`, part.replaceAll('+', '-').replaceAll('/', '_')] as const,
    ];
  });
}

function base32Forms(raw: Buffer): (readonly [string, string])[] {
  return [0, 1, 2, 3, 4].flatMap((before) => {
    const part = stablePart(base32(Buffer.concat([Buffer.alloc(before), raw])), before, raw.length, 5);
    return [[`base32+${before}`, part] as const, [`base32-lower+${before}`, part.toLowerCase()] as const];
  });
}

/** RFC 4648 §6, without padding. */
function base32(data: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of data) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(held >>> bits) & 31];
    }
  }
  return bits === 0 ? text : text + BASE32[(held << (5 - bits)) & 31];
}

/** Encoders differ in what they leave: RFC 3986, `encodeURIComponent`, Python's `quote`, forms. Hex digits in both cases. */
function percentForms(raw: Buffer): (readonly [string, string])[] {
  const every = percent(raw, /^$/);
  const forms: (readonly [string, string])[] = [
    ['percent', percent(raw, /[\w\-.~]/)],
    ['percent-component', percent(raw, /[\w\-.~!'()*]/)],
    ['percent-path', percent(raw, /[\w\-.~/]/)],
    ['form', percent(raw, /[\w\-.* ]/).replaceAll(' ', '+')],
  ];
  const upper = forms.map(
    ([name, text]) => [name, text.replace(/%../g, (code) => code.toUpperCase())] as const,
  );
  const lower = forms.map(([name, text]) => [`${name}-lower`, text] as const);
  return [['percent-all', every.toUpperCase()], ['percent-all-lower', every], ...upper, ...lower];
}

function percent(raw: Buffer, kept: RegExp): string {
  const write = (byte: number): string => {
    const letter = String.fromCharCode(byte);
    return kept.test(letter) ? letter : `%${byte.toString(16).padStart(2, '0')}`;
  };
  return Array.from(raw, write).join('');
}

/** Spellings of characters; a secret that is not UTF-8 has none of them except byte by byte. */
function textForms(raw: Buffer): (readonly [string, string | Uint8Array])[] {
  const utf8 = raw.toString('utf8');
  const text = Buffer.from(utf8).equals(raw) ? utf8 : raw.toString('latin1');
  const units = Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
  const points = Array.from(text, (letter) => letter.codePointAt(0) ?? 0);
  const json = JSON.stringify(text).slice(1, -1);
  const hex4 = (unit: number): string => unit.toString(16).padStart(4, '0');
  const wide = Buffer.from(text, 'utf16le');
  return [
    ['json', Buffer.from(json)],
    ['json-slash', Buffer.from(json.replaceAll('/', '\\/'))],
    ['json-u', units.map((unit) => `\\u${hex4(unit)}`).join('')],
    ['json-u-upper', units.map((unit) => `\\u${hex4(unit).toUpperCase()}`).join('')],
    ['utf-16le', wide],
    ['utf-16be', Buffer.from(wide).swap16()],
    ['html', Buffer.from(htmlEscaped(text))],
    ['html-decimal', points.map((point) => `&#${point};`).join('')],
    ['html-hex', points.map((point) => `&#x${point.toString(16)};`).join('')],
    ['html-hex-upper', points.map((point) => `&#x${point.toString(16).toUpperCase()};`).join('')],
  ];
}

function htmlEscaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
