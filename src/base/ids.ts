import { randomBytes } from 'node:crypto';

/** A new identifier such as `sbx_k3v9…`: prefix, underscore, 96 random bits in lower-case base 32. */
export function newId(prefix: string): string {
  return `${prefix}_${base32(randomBytes(12))}`;
}

function base32(bytes: Uint8Array): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  let bits = 0n;
  for (const byte of bytes) bits = (bits << 8n) | BigInt(byte);
  let text = '';
  for (let i = Math.ceil((bytes.length * 8) / 5); i > 0; i--) {
    text = alphabet.charAt(Number(bits & 31n)) + text;
    bits >>= 5n;
  }
  return text;
}
