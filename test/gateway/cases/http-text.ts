// What HTTP/1 bytes say, read by the tests' own eyes: no code of the gateway judges itself here.

export interface Message {
  /** Request or status line. */
  readonly start: string;
  /** Names as they came. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  readonly raw: Buffer;
}

export interface Response extends Message {
  readonly status: number;
}

export type Read<T> =
  | { readonly state: 'whole'; readonly message: T; readonly used: number; readonly framed: boolean }
  | { readonly state: 'part' }
  | { readonly state: 'not-http' };

/** The value of a header; several are joined by a bar, which no value of a row holds. */
export function header(message: Message, name: string): string | undefined {
  const values = message.headers.filter(([own]) => own.toLowerCase() === name.toLowerCase());
  return values.length === 0 ? undefined : values.map(([, value]) => value).join(' | ');
}

interface Head {
  readonly start: string;
  readonly headers: Message['headers'];
  readonly end: number;
}

function readHead(bytes: Buffer): Head | undefined {
  const border = bytes.indexOf('\r\n\r\n');
  if (border === -1) return undefined;
  const [start = '', ...lines] = bytes.toString('latin1', 0, border).split('\r\n');
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).trim()] as const;
  });
  return { start, headers, end: border + 4 };
}

/** The first request in the bytes. A body that never ends is no request: an origin cannot act on it. */
export function readRequest(bytes: Buffer): Read<Message> {
  const text = bytes.toString('latin1', 0, Math.min(bytes.length, 40));
  if (bytes.length > 0 && !/^[A-Za-z]/.test(text)) return { state: 'not-http' };
  if (bytes.length > 40 && !/^[A-Za-z-]+ /.test(text)) return { state: 'not-http' };
  const head = readHead(bytes);
  if (head === undefined) return { state: 'part' };
  return withBody(bytes, head, 0);
}

/** The first response in the bytes; interim ones count. `closed`: what has no length has ended. */
export function readResponse(bytes: Buffer, method: string, closed: boolean): Read<Response> {
  const text = bytes.toString('latin1', 0, Math.min(bytes.length, 20));
  if (!'HTTP/1.1 '.startsWith(text.slice(0, 9)) && !/^HTTP\/1\.[01] \d{3}/.test(text))
    return { state: 'not-http' };
  const head = readHead(bytes);
  if (head === undefined) return { state: 'part' };
  const status = Number(head.start.split(' ')[1]);
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304;
  const length = bodiless ? 0 : undefined;
  const read = withBody(bytes, head, closed ? bytes.length - head.end : undefined, length);
  if (read.state !== 'whole') return read;
  return { ...read, message: { ...read.message, status } };
}

/** `unframed`: how long a body without framing is; undefined while nobody knows. */
function withBody(bytes: Buffer, head: Head, unframed: number | undefined, fixed?: number): Read<Message> {
  const { start, headers, end } = head;
  const raw = (used: number): Buffer => bytes.subarray(0, used);
  const of = (name: string): string | undefined =>
    header({ start, headers, body: raw(0), raw: raw(0) }, name);
  const whole = (body: Buffer, used: number, framed = true): Read<Message> => ({
    state: 'whole',
    message: { start, headers, body, raw: raw(used) },
    used,
    framed,
  });
  if (fixed !== undefined) return whole(bytes.subarray(end, end + fixed), end + fixed);
  if (/chunked/i.test(of('transfer-encoding') ?? '')) {
    const read = readChunks(bytes, end);
    return read === undefined ? { state: 'part' } : whole(read.body, read.used);
  }
  const declared = of('content-length');
  if (declared === undefined && unframed === undefined) return { state: 'part' };
  const length = declared === undefined ? (unframed ?? 0) : Number.parseInt(declared, 10);
  if (bytes.length < end + length) return { state: 'part' };
  return whole(bytes.subarray(end, end + length), end + length, declared !== undefined);
}

function readChunks(
  bytes: Buffer,
  from: number,
): { readonly body: Buffer; readonly used: number } | undefined {
  const parts: Buffer[] = [];
  let at = from;
  for (;;) {
    const line = bytes.indexOf('\r\n', at);
    if (line === -1) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, line), 16);
    if (!(size > 0)) {
      const end = bytes.indexOf('\r\n\r\n', line);
      return end === -1 ? undefined : { body: Buffer.concat(parts), used: end + 4 };
    }
    if (bytes.length < line + 2 + size + 2) return undefined;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 4 + size;
  }
}
