import { createHash, createPublicKey, verify } from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';

/** Reads the data types of RFC 4251 §5; every read past the end answers undefined. */
export class SshReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  u8(): number | undefined {
    return this.left < 1 ? undefined : this.#bytes[this.#at++];
  }

  u32(): number | undefined {
    if (this.left < 4) return undefined;
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  string(): Buffer | undefined {
    const length = this.u32();
    if (length === undefined || length > this.left) return undefined;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(): string | undefined {
    return this.string()?.toString('latin1');
  }
}

/** `string` of RFC 4251 §5. */
export function sshString(value: Uint8Array | string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** `SHA256:…` of a public key blob, as ssh-keygen prints it. */
export function sshFingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** A host key bound to one session (OpenSSH PROTOCOL.agent §1). */
export interface SessionBind {
  readonly hostKey: Buffer;
  readonly sessionId: Buffer;
  readonly forwarding: boolean;
}

/** Reads the body of `session-bind@openssh.com` and checks that the host signed this session; undefined when it did not. */
export function readSessionBind(reader: SshReader): SessionBind | undefined {
  const hostKey = reader.string();
  const sessionId = reader.string();
  const signature = reader.string();
  const forwarding = reader.u8();
  if (hostKey === undefined || sessionId === undefined || signature === undefined) return undefined;
  if (forwarding === undefined || reader.left !== 0 || sessionId.length < 16 || sessionId.length > 128)
    return undefined;
  return verifySsh(hostKey, sessionId, signature)
    ? { hostKey, sessionId, forwarding: forwarding !== 0 }
    : undefined;
}

/** What a client wants signed to log in (RFC 4252 §7). */
export interface UserAuth {
  readonly sessionId: Buffer;
  readonly user: string;
  readonly key: Buffer;
  /** Named by the host-bound method of OpenSSH 8.9 and later. */
  readonly hostKey: Buffer | undefined;
}

const USERAUTH_REQUEST = 50;
const HOST_BOUND = 'publickey-hostbound-v00@openssh.com';

/** Reads the bytes that a login signs; undefined for anything else, such as a git commit or a file. */
export function readUserAuth(data: Uint8Array): UserAuth | undefined {
  const reader = new SshReader(data);
  const sessionId = reader.string();
  if (reader.u8() !== USERAUTH_REQUEST) return undefined;
  const user = reader.text();
  const service = reader.text();
  const method = reader.text();
  const signed = reader.u8();
  const algorithm = reader.text();
  const key = reader.string();
  const hostKey = method === HOST_BOUND ? reader.string() : undefined;
  if (sessionId === undefined || user === undefined || key === undefined || algorithm === undefined)
    return undefined;
  if (service !== 'ssh-connection' || signed !== 1 || reader.left !== 0) return undefined;
  if (method !== 'publickey' && hostKey === undefined) return undefined;
  return { sessionId, user, key, hostKey };
}

/** Checks a signature blob over `data` by a public key blob (RFC 4253 §6.6, RFC 5656, RFC 8332, RFC 8709). */
export function verifySsh(keyBlob: Uint8Array, data: Uint8Array, signature: Uint8Array): boolean {
  const reader = new SshReader(signature);
  const algorithm = reader.text();
  const raw = reader.string();
  if (algorithm === undefined || raw === undefined || reader.left !== 0) return false;
  try {
    return verifyBy(algorithm, keyBlob, data, raw);
  } catch {
    // A key that OpenSSL will not take signs nothing.
    return false;
  }
}

function verifyBy(algorithm: string, keyBlob: Uint8Array, data: Uint8Array, raw: Buffer): boolean {
  const reader = new SshReader(keyBlob);
  const type = reader.text();
  if (algorithm === 'ssh-ed25519' && type === algorithm) {
    const key = jwk({ kty: 'OKP', crv: 'Ed25519', x: reader.string()?.toString('base64url') ?? '' });
    return verify(null, data, key, raw);
  }
  const rsa = /^rsa-sha2-(256|512)$/.exec(algorithm);
  if (rsa !== null && type === 'ssh-rsa') {
    const e = mpint(reader.string());
    return verify(`sha${rsa[1]}`, data, jwk({ kty: 'RSA', n: mpint(reader.string()), e }), raw);
  }
  return type === algorithm && verifyEcdsa(algorithm, reader, data, raw);
}

const CURVES: Readonly<
  Record<string, { readonly crv: string; readonly bytes: number; readonly hash: string }>
> = {
  'ecdsa-sha2-nistp256': { crv: 'P-256', bytes: 32, hash: 'sha256' },
  'ecdsa-sha2-nistp384': { crv: 'P-384', bytes: 48, hash: 'sha384' },
  'ecdsa-sha2-nistp521': { crv: 'P-521', bytes: 66, hash: 'sha512' },
};

function verifyEcdsa(algorithm: string, reader: SshReader, data: Uint8Array, raw: Buffer): boolean {
  const curve = CURVES[algorithm];
  reader.string();
  const point = reader.string();
  if (curve === undefined || point?.length !== 1 + 2 * curve.bytes || point[0] !== 4) return false;
  const x = point.subarray(1, 1 + curve.bytes).toString('base64url');
  const y = point.subarray(1 + curve.bytes).toString('base64url');
  const numbers = new SshReader(raw);
  const r = fixed(numbers.string(), curve.bytes);
  const s = fixed(numbers.string(), curve.bytes);
  if (r === undefined || s === undefined) return false;
  const key = jwk({ kty: 'EC', crv: curve.crv, x, y });
  return verify(curve.hash, data, { key, dsaEncoding: 'ieee-p1363' }, Buffer.concat([r, s]));
}

/** An mpint without its sign byte, left-padded. */
function fixed(number: Buffer | undefined, length: number): Buffer | undefined {
  const bare = number?.[0] === 0 ? number.subarray(1) : number;
  if (bare === undefined || bare.length > length) return undefined;
  return Buffer.concat([Buffer.alloc(length - bare.length), bare]);
}

function jwk(key: JsonWebKey): KeyObject {
  return createPublicKey({ key, format: 'jwk' });
}

/** An mpint (RFC 4251 §5) as a JWK has it: without the sign byte. */
function mpint(bytes: Buffer | undefined): string {
  const bare = bytes?.[0] === 0 ? bytes.subarray(1) : bytes;
  return bare?.toString('base64url') ?? '';
}
