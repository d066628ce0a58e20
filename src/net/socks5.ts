import { parseIp } from './ip.ts';

/** SOCKS5 reply codes (RFC 1928 §6). */
export const SOCKS_REPLY = {
  ok: 0x00,
  failure: 0x01,
  notAllowed: 0x02,
  hostUnreachable: 0x04,
  refused: 0x05,
  commandUnsupported: 0x07,
  addressUnsupported: 0x08,
} as const;

export type SocksReply = (typeof SOCKS_REPLY)[keyof typeof SOCKS_REPLY];

/** What is to be done next with the client. `used` bytes belong to the step; the rest is for what follows. */
export type SocksStep =
  | { readonly state: 'more' }
  | { readonly state: 'bad'; readonly why: string; readonly reply?: SocksReply }
  | { readonly state: 'greeting'; readonly used: number; readonly noAuth: boolean }
  | { readonly state: 'request'; readonly used: number; readonly host: string; readonly port: number };

const CONNECT = 1;
const ATYP_IPV4 = 1;
const ATYP_NAME = 3;
const ATYP_IPV6 = 4;

/** Reads the method greeting (RFC 1928 §3). Only "no authentication" is offered: identity is the socket. */
export function readSocksGreeting(bytes: Uint8Array): SocksStep {
  const [version, count] = bytes;
  if (version === undefined) return { state: 'more' };
  if (version !== 5)
    return { state: 'bad', why: version === 4 ? 'SOCKS4 is not spoken here' : 'not a SOCKS5 greeting' };
  if (count === undefined || bytes.length < 2 + count) return { state: 'more' };
  if (count === 0) return { state: 'bad', why: 'a greeting without a method' };
  return { state: 'greeting', used: 2 + count, noAuth: bytes.subarray(2, 2 + count).includes(0) };
}

/**
 * Reads the request (RFC 1928 §4). The host comes back as the client wrote it, byte for byte (latin1), so that the one
 * canonicaliser judges it; addresses come back in their text form.
 */
export function readSocksRequest(bytes: Uint8Array): SocksStep {
  const [version, command, reserved, type] = bytes;
  if (version === undefined) return { state: 'more' };
  if (version !== 5) return { state: 'bad', why: 'not a SOCKS5 request', reply: SOCKS_REPLY.failure };
  if (type === undefined) return { state: 'more' };
  if (command !== CONNECT) {
    return {
      state: 'bad',
      why: 'only CONNECT is supported, neither BIND nor UDP',
      reply: SOCKS_REPLY.commandUnsupported,
    };
  }
  if (reserved !== 0)
    return { state: 'bad', why: 'a reserved byte that is not zero', reply: SOCKS_REPLY.failure };
  if (type === ATYP_NAME) return readNamed(bytes);
  if (type === ATYP_IPV4) return readAddress(bytes, 4);
  if (type === ATYP_IPV6) return readAddress(bytes, 16);
  return { state: 'bad', why: 'an unknown address type', reply: SOCKS_REPLY.addressUnsupported };
}

/** A reply with the unspecified bound address: it would tell the sandbox about the host's network. */
export function socksReply(reply: SocksReply): Uint8Array {
  return Uint8Array.of(5, reply, 0, ATYP_IPV4, 0, 0, 0, 0, 0, 0);
}

function readNamed(bytes: Uint8Array): SocksStep {
  const length = bytes[4];
  if (length === undefined) return { state: 'more' };
  if (length === 0) return { state: 'bad', why: 'an empty host', reply: SOCKS_REPLY.failure };
  const used = 5 + length + 2;
  if (bytes.length < used) return { state: 'more' };
  return withPort(bytes, used, String.fromCharCode(...bytes.subarray(5, 5 + length)));
}

function readAddress(bytes: Uint8Array, length: 4 | 16): SocksStep {
  const used = 4 + length + 2;
  if (bytes.length < used) return { state: 'more' };
  const raw = [...bytes.subarray(4, 4 + length)];
  if (length === 4) return withPort(bytes, used, raw.join('.'));
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((raw[i * 2] ?? 0) << 8) | (raw[i * 2 + 1] ?? 0)).toString(16),
  );
  return withPort(bytes, used, parseIp(groups.join(':'))?.text ?? '::');
}

function withPort(bytes: Uint8Array, used: number, host: string): SocksStep {
  const port = (bytes[used - 2] ?? 0) * 256 + (bytes[used - 1] ?? 0);
  if (port === 0) return { state: 'bad', why: 'port 0', reply: SOCKS_REPLY.failure };
  return { state: 'request', used, host, port };
}
