import { createCipheriv, createDecipheriv, randomBytes, scrypt } from 'node:crypto';
import { ByteReader } from '../net/byte-reader.ts';

/** One secret of the store. */
export interface StoreEntry {
  readonly name: string;
  readonly value: Buffer;
  /** Milliseconds since 1970. */
  readonly changedAt: number;
}

/** Where the key comes from; it stands in the file, so that the wrong one is a clear message. */
export type KeyKind = 'passphrase' | 'file';

/** Parameters of scrypt (RFC 7914). A passphrase gets the OWASP figure (128 MiB, about half a second); a random key needs no stretching. */
const LOG2_N = { passphrase: 17, file: 14 } as const;
const R = 8;
const P = 1;
/** A file that asks for more than 1 GiB of work is hostile. */
const LOG2_N_MAX = 20;

const MAGIC = Buffer.from('GBXSEC1\n');
const KEY_KINDS: readonly KeyKind[] = ['passphrase', 'file'];
const SALT = 32;
const NONCE = 12;
const TAG = 16;
/** Magic, kind, log2 N, salt, nonce: authenticated, not secret. */
const HEADER = MAGIC.length + 2 + SALT + NONCE;
/** Beyond this it is no store of ours. */
export const STORE_FILE_MAX = 4 * 1024 * 1024;

/** The kind of key a store file wants, or undefined when it is no store. */
export function keyKindOf(file: Buffer): KeyKind | undefined {
  if (file.length < HEADER + TAG || !file.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  return KEY_KINDS[file[MAGIC.length] ?? 255];
}

/** Encrypts with AES-256-GCM under a key that scrypt makes from `secret` and a new salt. */
export async function sealStore(
  entries: readonly StoreEntry[],
  secret: Buffer,
  kind: KeyKind,
): Promise<Buffer> {
  const head = Buffer.from([KEY_KINDS.indexOf(kind), LOG2_N[kind]]);
  const header = Buffer.concat([MAGIC, head, randomBytes(SALT + NONCE)]);
  const key = await deriveKey(header, secret);
  const plain = packEntries(entries);
  try {
    const cipher = createCipheriv('aes-256-gcm', key, header.subarray(HEADER - NONCE)).setAAD(header);
    const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
    return Buffer.concat([header, sealed, cipher.getAuthTag()]);
  } finally {
    key.fill(0);
    plain.fill(0);
  }
}

/** Decrypts; undefined when the key is wrong or the file was changed, which cannot be told apart. */
export async function unsealStore(file: Buffer, secret: Buffer): Promise<readonly StoreEntry[] | undefined> {
  if (keyKindOf(file) === undefined || file.length > STORE_FILE_MAX) return undefined;
  const header = file.subarray(0, HEADER);
  if ((header[MAGIC.length + 1] ?? 255) > LOG2_N_MAX) return undefined;
  const key = await deriveKey(header, secret);
  const decipher = createDecipheriv('aes-256-gcm', key, header.subarray(HEADER - NONCE)).setAAD(header);
  key.fill(0);
  const plain = decipher.setAuthTag(file.subarray(-TAG)).update(file.subarray(HEADER, -TAG));
  try {
    decipher.final();
    return unpackEntries(plain);
  } catch {
    return undefined;
  } finally {
    plain.fill(0);
  }
}

function deriveKey(header: Buffer, secret: Buffer): Promise<Buffer> {
  const N = 2 ** (header[MAGIC.length + 1] ?? 0);
  const salt = header.subarray(MAGIC.length + 2, MAGIC.length + 2 + SALT);
  return new Promise((resolve, reject) => {
    scrypt(secret, salt, 32, { N, r: R, p: P, maxmem: 256 * N * R }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}

/** Bytes instead of JSON: strings in the heap cannot be overwritten. Each entry: name and value with their lengths, the time. */
function packEntries(entries: readonly StoreEntry[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const name = Buffer.from(entry.name);
    const head = Buffer.alloc(12);
    head.writeUInt16BE(name.length, 0);
    head.writeUIntBE(entry.changedAt, 2, 6);
    head.writeUInt32BE(entry.value.length, 8);
    return [head, name, entry.value];
  });
  return Buffer.concat(parts);
}

function unpackEntries(plain: Buffer): readonly StoreEntry[] {
  const entries: StoreEntry[] = [];
  const reader = new ByteReader(plain);
  while (reader.left > 0) {
    const head = Buffer.from(reader.take(12) ?? []);
    const name = reader.take(head.readUInt16BE(0));
    const value = reader.take(head.readUInt32BE(8));
    if (name === undefined || value === undefined) throw new RangeError('a cut entry');
    const changedAt = head.readUIntBE(2, 6);
    entries.push({ name: Buffer.from(name).toString(), value: Buffer.from(value), changedAt });
  }
  return entries;
}
