import { randomBytes } from 'node:crypto';

export interface FrameFlags {
  readonly fin: boolean;
  readonly rsv1: boolean;
  readonly mask: boolean;
}

/** A frame as clients send it, or as they must not (RFC 6455 §5.2). */
export function clientFrame(opcode: number, data: Buffer, { fin, rsv1, mask }: FrameFlags): Buffer {
  const first = (fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode;
  const flag = mask ? 0x80 : 0;
  const length =
    data.length < 126
      ? Buffer.from([first, flag | data.length])
      : data.length < 65_536
        ? Buffer.from([first, flag | 126, data.length >> 8, data.length & 0xff])
        : longHead(first, flag, data.length);
  if (!mask) return Buffer.concat([length, data]);
  const key = randomBytes(4);
  const out = Buffer.from(data);
  for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) ^ (key[i & 3] ?? 0);
  return Buffer.concat([length, key, out]);
}

function longHead(first: number, flag: number, length: number): Buffer {
  const head = Buffer.alloc(10);
  head[0] = first;
  head[1] = flag | 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/** Whole messages at the front of the bytes: fragments are joined, a message without its end is none. */
export function decodeFrames(bytes: Buffer): { readonly messages: readonly Buffer[]; readonly used: number } {
  const messages: Buffer[] = [];
  let parts: Buffer[] = [];
  let at = 0;
  let used = 0;
  for (let frame = readFrame(bytes, at); frame !== undefined; frame = readFrame(bytes, at)) {
    at = frame.next;
    if (frame.opcode < 8) parts.push(frame.data);
    if (!frame.fin || frame.opcode >= 8) continue;
    messages.push(Buffer.concat(parts));
    parts = [];
    used = at;
  }
  return { messages, used };
}

function readFrame(
  bytes: Buffer,
  at: number,
):
  | { readonly opcode: number; readonly fin: boolean; readonly data: Buffer; readonly next: number }
  | undefined {
  if (bytes.length < at + 2) return undefined;
  const [first = 0, second = 0] = bytes.subarray(at, at + 2);
  const small = second & 0x7f;
  const extra = small === 126 ? 2 : small === 127 ? 8 : 0;
  const masked = (second & 0x80) !== 0;
  const start = at + 2 + extra + (masked ? 4 : 0);
  if (bytes.length < start) return undefined;
  const length =
    extra === 0 ? small : extra === 2 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2));
  if (bytes.length < start + length) return undefined;
  const data = Buffer.from(bytes.subarray(start, start + length));
  if (masked)
    for (let i = 0; i < data.length; i++) data[i] = (data[i] ?? 0) ^ (bytes[start - 4 + (i & 3)] ?? 0);
  return { opcode: first & 0xf, fin: (first & 0x80) !== 0, data, next: start + length };
}
