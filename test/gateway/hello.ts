/** Knobs of a hand-made ClientHello. */
export interface HelloOptions {
  readonly sni?: string | null;
  /** Raw names in one server_name list. */
  readonly sniList?: readonly (string | Uint8Array)[];
  /** One server_name extension for each. */
  readonly sniExtensions?: readonly (string | Uint8Array)[];
  readonly ech?: boolean;
  readonly alpn?: readonly string[];
  /** Split the handshake over this many TLS records. */
  readonly records?: number;
  readonly padding?: number;
  /** Extensions as they are. */
  readonly more?: readonly (readonly [type: number, body: readonly number[]])[];
}

const u8 = (value: number): number[] => [value & 0xff];
const u16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const u24 = (value: number): number[] => [(value >> 16) & 0xff, ...u16(value)];
const bytesOf = (text: string | Uint8Array): number[] => [
  ...(typeof text === 'string' ? Buffer.from(text, 'latin1') : text),
];

function serverName(names: readonly (string | Uint8Array)[]): number[] {
  const list = names.flatMap((name) => [0, ...u16(bytesOf(name).length), ...bytesOf(name)]);
  return extension(0, [...u16(list.length), ...list]);
}

function extension(type: number, body: readonly number[]): number[] {
  return [...u16(type), ...u16(body.length), ...body];
}

/** A ClientHello as a client would send it, or as an attacker would. */
export function clientHello(options: HelloOptions): Buffer {
  const extensions: number[] = [];
  if (typeof options.sni === 'string') extensions.push(...serverName([options.sni]));
  if (options.sniList !== undefined) extensions.push(...serverName(options.sniList));
  for (const name of options.sniExtensions ?? []) extensions.push(...serverName([name]));
  extensions.push(...extension(10, [...u16(2), ...u16(29)]), ...extension(43, [2, 3, 4]));
  if (options.alpn !== undefined && options.alpn.length > 0) {
    const list = options.alpn.flatMap((name) => [...u8(name.length), ...bytesOf(name)]);
    extensions.push(...extension(16, [...u16(list.length), ...list]));
  }
  if (options.ech === true)
    extensions.push(...extension(0xfe0d, [0, 0, 1, 0, 1, 7, ...u16(4), 1, 2, 3, 4, ...u16(4), 5, 6, 7, 8]));
  for (const [type, body] of options.more ?? []) extensions.push(...extension(type, body));
  if (options.padding !== undefined)
    extensions.push(
      ...extension(
        21,
        Array.from({ length: options.padding }, () => 0),
      ),
    );
  const random = Array.from({ length: 32 }, (_, i) => i);
  const body = [
    3,
    3,
    ...random,
    0,
    ...u16(4),
    0x13,
    0x01,
    0x13,
    0x02,
    1,
    0,
    ...u16(extensions.length),
    ...extensions,
  ];
  return inRecords(Buffer.from([1, ...u24(body.length), ...body]), options.records ?? 1);
}

function inRecords(handshake: Buffer, count: number): Buffer {
  const size = Math.min(16_384, Math.ceil(handshake.length / count));
  const out: Buffer[] = [];
  for (let at = 0; at < handshake.length; at += size) {
    const part = handshake.subarray(at, at + size);
    out.push(Buffer.from([22, 3, 1, ...u16(part.length)]), part);
  }
  return Buffer.concat(out);
}
