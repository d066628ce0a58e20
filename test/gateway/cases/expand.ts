import { deflateRawSync, gzipSync } from 'node:zlib';
import { clientHello } from '../hello.ts';

// The placeholder language of the case file: `${NAME}` and `${function:…}`, one inside the other.

/** Values of the strings that rows name. */
export type Strings = Readonly<Record<string, string>>;

/** How the text between placeholders becomes bytes. */
export type Plain = 'utf8' | 'latin1';

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

type Spell = (value: Buffer) => Buffer | string;

const perByte =
  (write: (byte: number) => string): Spell =>
  (value) =>
    Array.from(value, write).join('');
const hexOf = (byte: number): string => byte.toString(16).padStart(2, '0');
const padded =
  (count: number): Spell =>
  (value) =>
    Buffer.concat([Buffer.alloc(count, 'x'), value]).toString('base64');

/** Functions of one value. */
const SPELLINGS: Readonly<Record<string, Spell>> = {
  b64v: (value) => value.toString('base64'),
  b64url: (value) => value.toString('base64url'),
  b64nl: (value) => value.toString('base64').replace(/.{20}/g, '$&\n'),
  b64pad1: padded(1),
  b64pad2: padded(2),
  b64b64: (value) => Buffer.from(value.toString('base64')).toString('base64'),
  base32,
  hex: (value) => value.toString('hex'),
  HEX: (value) => value.toString('hex').toUpperCase(),
  hexsp: (value) => (value.toString('hex').match(/../g) ?? []).join(' '),
  hex32: (value) => value.toString('hex').slice(0, 32),
  urlall: perByte((byte) => `%${hexOf(byte).toUpperCase()}`),
  jsonu: perByte((byte) => `\\u00${hexOf(byte)}`),
  html: perByte((byte) => `&#${byte};`),
  rot13: (value) =>
    value.toString('latin1').replace(/[a-z]/gi, (letter) => {
      const code = letter.charCodeAt(0);
      return String.fromCharCode(code + ((code | 32) < 110 ? 13 : -13));
    }),
  rev: (value) => Buffer.from(value).reverse(),
  utf16: (value) => Buffer.from(value.toString('latin1'), 'utf16le'),
  zw: (value) => Buffer.from(Array.from(value.toString('latin1')).join('\u200b')),
  spaced: (value) => Array.from(value.toString('latin1')).join(' '),
  upper: (value) => value.toString('latin1').toUpperCase(),
  split: (value) => value,
  gzip: (value) => gzipSync(value),
  zstd: zstdFrame,
  HELLO: (value) => clientHello({ sni: value.toString('latin1') }),
};

/** Expands a text from the inside out; `${len}` is left for later. An unknown placeholder is an error, never passed on. */
export function expandBytes(text: string, strings: Strings, plain: Plain = 'latin1'): Buffer {
  return Buffer.concat(expandPieces(text, strings, plain));
}

/** The same, in the pieces that `split` at the top level asks to be sent apart. */
export function expandPieces(text: string, strings: Strings, plain: Plain = 'latin1'): Buffer[] {
  const pieces: Buffer[] = [];
  let parts: Buffer[] = [];
  let at = 0;
  for (let open = text.indexOf('${'); open !== -1; open = text.indexOf('${', at)) {
    const end = closing(text, open);
    parts.push(Buffer.from(text.slice(at, open), plain));
    const inner = text.slice(open + 2, end - 1);
    const value =
      inner === 'len' ? Buffer.from('${len}') : evaluate(expandBytes(inner, strings, plain), strings);
    at = end;
    if (!inner.startsWith('split:')) parts.push(value);
    else {
      const middle = value.length >> 1;
      pieces.push(Buffer.concat([...parts, value.subarray(0, middle)]));
      parts = [value.subarray(middle)];
    }
  }
  return [...pieces, Buffer.concat([...parts, Buffer.from(text.slice(at), plain)])];
}

/** A whole HTTP message: `${len}` becomes the length of its body, and a body that `split` cut is sent in two chunks where chunks are declared. */
export function expandMessage(text: string, strings: Strings, plain: Plain = 'utf8'): Buffer[] {
  const pieces = expandPieces(text, strings, plain);
  const whole = Buffer.concat(pieces);
  const border = whole.indexOf('\r\n\r\n');
  if (border === -1 || pieces.length === 0) return pieces;
  const head = whole.subarray(0, border).toString('latin1');
  const body = whole.length - border - 4;
  const [first = Buffer.alloc(0), ...rest] = pieces;
  const declared = declaredLength(text, head);
  if (declared !== undefined) {
    const length = (part: Buffer): Buffer =>
      Buffer.from(part.toString('latin1').replace(declared, `$1${body}`), 'latin1');
    return [length(first), ...rest];
  }
  const isChunked = /^transfer-encoding: *chunked/im.test(head);
  if (!isChunked || rest.length === 0 || first.length <= border + 4) return pieces;
  if (/^[0-9a-f]+\r\n/i.test(whole.toString('latin1', border + 4, border + 24))) return pieces;
  const chunks = [first.subarray(border + 4), ...rest].map(chunk);
  return [
    Buffer.concat([first.subarray(0, border + 4), chunks[0] ?? Buffer.alloc(0)]),
    ...chunks.slice(1),
    Buffer.from('0\r\n\r\n'),
  ];
}

/** What stands where the length of the body belongs: `${len}`, or the length that the body has before its placeholders are filled in. */
function declaredLength(text: string, head: string): RegExp | undefined {
  if (head.includes('${len}')) return /^(content-length: *)\$\{len\}/im;
  const template = text.slice(text.indexOf('\r\n\r\n') + 4);
  const length = /^content-length: *(\d+)\r?$/im.exec(head)?.[1];
  if (!template.includes('${') || Number(length) !== Buffer.byteLength(template)) return undefined;
  return new RegExp(`^(content-length: *)${length}(?=\r|$)`, 'im');
}

function closing(text: string, open: number): number {
  let end = open + 2;
  for (let depth = 1; depth > 0 && end < text.length; end++) {
    if (text[end] === '{') depth++;
    else if (text[end] === '}') depth--;
  }
  return end;
}

/** Carries out one `${…}`. */
function evaluate(inner: Buffer, strings: Strings): Buffer {
  const text = inner.toString('latin1');
  const own = strings[text];
  if (own !== undefined) return Buffer.from(own);
  const colon = text.indexOf(':');
  const name = text.slice(0, colon);
  const rest = inner.subarray(colon + 1);
  const args = rest.toString('latin1').split(':');
  const valueOf = (key: string): Buffer => Buffer.from(strings[key] ?? key, 'latin1');
  const spell = SPELLINGS[name];
  if (colon !== -1 && spell !== undefined) {
    const spelt = spell(strings[args.join(':')] === undefined ? rest : valueOf(args.join(':')));
    return typeof spelt === 'string' ? Buffer.from(spelt, 'latin1') : spelt;
  }
  const made = special(name, args, rest, valueOf);
  if (made === undefined) throw new Error(`no meaning for \${${text.slice(0, 60)}}`);
  return made;
}

function special(
  name: string,
  args: readonly string[],
  rest: Buffer,
  valueOf: (key: string) => Buffer,
): Buffer | undefined {
  const [first = '', second = '', third = ''] = args;
  switch (name) {
    case 'b64':
      return Buffer.from(
        Buffer.concat([valueOf(first), Buffer.from(':'), valueOf(second)]).toString('base64'),
      );
    case 'slice':
      return valueOf(first).subarray(Number(second || 0), third === '' ? undefined : Number(third));
    case 'repeat':
      return Buffer.alloc(first.length * Number(second), first, 'latin1');
    case 'repeat-lines':
      return Buffer.from(`${args.slice(0, -1).join(':')}\r\n`.repeat(Number(args.at(-1))), 'latin1');
    case 'zip':
      return zipOf(first, rest.subarray(first.length + 1));
    case 'gzipbomb':
      return gzipSync(Buffer.alloc(Number(first)));
    case 'chunked':
      return chunked(Number(first));
    case 'chunks':
      return Buffer.concat([
        ...rest
          .toString('latin1')
          .split('|')
          .map((part) => chunk(Buffer.from(part, 'latin1'))),
        Buffer.from('0\r\n\r\n'),
      ]);
    default:
      return undefined;
  }
}

function chunk(part: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]);
}

function chunked(bytes: number): Buffer {
  const size = 16_384;
  const parts: Buffer[] = [];
  for (let left = bytes; left > 0; left -= size) parts.push(chunk(Buffer.alloc(Math.min(size, left), 'a')));
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]);
}

export function base32(data: Buffer): string {
  const bits = Array.from(data, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{1,5}/g) ?? [])
    .map((five) => BASE32[Number.parseInt(five.padEnd(5, '0'), 2)])
    .join('');
}

/** One deflated entry with its local header; readers from the front need no directory. */
export function zipOf(name: string, data: Buffer, method = 8): Buffer {
  const packed = method === 8 ? deflateRawSync(data) : data;
  const head = Buffer.alloc(30);
  head.write('PK\u0003\u0004', 0, 'latin1');
  head.writeUInt16LE(20, 4);
  head.writeUInt16LE(method, 8);
  head.writeUInt32LE(packed.length, 18);
  head.writeUInt32LE(data.length, 22);
  head.writeUInt16LE(name.length, 26);
  return Buffer.concat([head, Buffer.from(name), packed]);
}

/** RFC 8878: one raw block, single segment. */
function zstdFrame(data: Buffer): Buffer {
  const block = Buffer.alloc(3);
  block.writeUIntLE((data.length << 3) | 1, 0, 3);
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, data.length & 0xff]), block, data]);
}
