import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const ANSWER_MS = 400;

const TYPES: Readonly<Record<string, number>> = {
  A: 1,
  CNAME: 5,
  NULL: 10,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  DNSKEY: 48,
  HTTPS: 65,
  AXFR: 252,
  CAA: 257,
  PTR: 12,
  MX: 15,
  ANY: 255,
  NS: 2,
  SOA: 6,
  NAPTR: 35,
  SSHFP: 44,
  RRSIG: 46,
  NSEC: 47,
  TLSA: 52,
  SVCB: 64,
  IXFR: 251,
  URI: 256,
};
const CLASSES: Readonly<Record<string, number>> = { IN: 1, CH: 3, HS: 4, ANY: 255 };

export interface DnsReply {
  readonly bytes: Buffer;
  readonly rcode: number;
  readonly addresses: readonly string[];
}

/** A query by hand, so that labels may hold anything. */
export function dnsQuery(
  labels: readonly (string | Uint8Array)[],
  more: {
    readonly type?: string;
    readonly opcode?: number;
    readonly edns?: boolean;
    readonly class?: string;
  } = {},
): Buffer {
  const edns = more.edns === true;
  const head = [0x12, 0x34, ((more.opcode ?? 0) << 3) | 1, 0, 0, 1, 0, 0, 0, 0, 0, edns ? 1 : 0];
  const name = labels.flatMap((label) => {
    const bytes = typeof label === 'string' ? Buffer.from(label, 'latin1') : label;
    return [bytes.length, ...bytes];
  });
  // A type that has no name here is written `TYPE65280` (RFC 3597).
  const type = TYPES[more.type ?? 'A'] ?? Number(/\d+$/.exec(more.type ?? '')?.[0] ?? 65_280);
  // NSID, client subnet and a private option: none may be copied anywhere.
  const options = [0, 3, 0, 0, 0, 8, 0, 7, 0, 1, 24, 0, 1, 2, 3, 0xfd, 0xe9, 0, 5, 1, 2, 3, 4, 5];
  const opt = edns ? [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.length, ...options] : [];
  return Buffer.from([
    ...head,
    ...name,
    0,
    type >> 8,
    type & 0xff,
    0,
    CLASSES[more.class ?? 'IN'] ?? 1,
    ...opt,
  ]);
}

/** Asks and reads the answer; undefined when there is none within 400 ms. */
export async function askDns(port: number, query: Buffer, tcp = false): Promise<DnsReply | undefined> {
  const bytes = await (tcp ? askTcp(port, query) : askUdp(port, query));
  if (bytes === undefined) return undefined;
  const answers = bytes.readUInt16BE(6);
  const addresses: string[] = [];
  let at = 12;
  if (bytes.readUInt16BE(4) === 1) {
    while ((bytes[at] ?? 0) !== 0) at += 1 + (bytes[at] ?? 0);
    at += 5;
  }
  for (let i = 0; i < answers; i++) {
    const length = bytes.readUInt16BE(at + 10);
    addresses.push(
      length === 4
        ? [...bytes.subarray(at + 12, at + 16)].join('.')
        : bytes.subarray(at + 12, at + 12 + length).toString('hex'),
    );
    at += 12 + length;
  }
  return { bytes, rcode: (bytes[3] ?? 0) & 0xf, addresses };
}

function askUdp(port: number, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const finish = (bytes: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.close();
      resolve(bytes);
    };
    const timer = setTimeout(() => finish(undefined), ANSWER_MS);
    socket.on('message', (message) => finish(message));
    socket.send(query, port, '127.0.0.1');
  });
}

function askTcp(port: number, query: Buffer): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const timer = setTimeout(() => socket.destroy(), ANSWER_MS);
    socket
      .on('error', () => undefined)
      .on('close', () => {
        clearTimeout(timer);
        resolve(undefined);
      });
    socket.on('data', (chunk) => {
      resolve(chunk.subarray(2));
      socket.destroy();
    });
    socket.write(Buffer.concat([Buffer.from([query.length >> 8, query.length & 0xff]), query]));
  });
}
