import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { systemCode } from '../base/errors.ts';
import { secretVariants } from '../net/secret-variants.ts';
import type { MaskedFile, Replacement } from './contract.ts';
import { Recognizer } from './recognizer.ts';

/** One field of a credential that a file holds. */
export interface MaskedSecret {
  readonly credential: string;
  readonly field: string;
  readonly secret: Uint8Array;
  readonly placeholder: string;
}

/** Configuration files are small; something larger is not one. */
export const MASKED_FILE_MAX = 1024 * 1024;

/** Spellings that do not depend on what stands beside the secret, so that each can be replaced by itself. */
const SELF_CONTAINED = /^(raw|hex|percent|form|json|html|utf-16)/;

/**
 * The content of a host file with every secret in it replaced by its placeholder, also within base64 such as Docker's `auth` and
 * npm's `_auth`. Refused: a file over 1 MiB, one that lacks a secret (its copy would show whatever took its place), and one where a
 * secret stays in a spelling that cannot be replaced.
 */
export async function maskFile(path: string, secrets: readonly MaskedSecret[]): Promise<MaskedFile> {
  const read = await readBounded(path);
  if (typeof read === 'string') return { state: 'refused', path, why: read };
  const { content, replaced } = maskContent(read, secrets);
  read.fill(0);
  const missing = replaced.find(({ count }) => count === 0);
  if (missing !== undefined) {
    const why = `it does not hold ${missing.field} of ${missing.credential} any more, so what it holds cannot be masked`;
    return { state: 'refused', path, why };
  }
  const known = secrets.map(({ credential, field, secret }) => ({
    known: { kind: 'secret', credential, field } as const,
    bytes: secret,
  }));
  const left = new Recognizer(known).find(content);
  if (left === undefined) return { state: 'masked', path, content, replaced };
  content.fill(0);
  return {
    state: 'refused',
    path,
    why: `it holds ${left.field} of ${left.credential} in a form that cannot be masked`,
  };
}

/** Replaces what can be replaced, and counts it. */
export function maskContent(
  content: Buffer,
  secrets: readonly MaskedSecret[],
): { readonly content: Buffer; readonly replaced: readonly Replacement[] } {
  let masked: Buffer = Buffer.from(content);
  const replaced: Replacement[] = [];
  // Longer secrets first: one may be part of another.
  for (const secret of [...secrets].sort((a, b) => b.secret.length - a.secret.length)) {
    const plain = maskPlain(masked, secret);
    const coded = maskBase64(plain.bytes, secret);
    masked = coded.bytes;
    const { credential, field } = secret;
    replaced.push({ credential, field, count: plain.count + coded.count });
  }
  return { content: masked, replaced };
}

interface Counted {
  readonly bytes: Buffer;
  readonly count: number;
}

function maskPlain(content: Buffer, { secret, placeholder }: MaskedSecret): Counted {
  const spelled = new Map(
    secretVariants(Buffer.from(placeholder)).map(({ spelling, bytes }) => [spelling, bytes]),
  );
  let bytes = content;
  let count = 0;
  for (const variant of secretVariants(secret)) {
    if (!SELF_CONTAINED.test(variant.spelling)) continue;
    // Equal spellings are listed once: a placeholder that needs no escapes is its own percent form.
    const by = spelled.get(variant.spelling) ?? Buffer.from(placeholder);
    const next = replaceAll(bytes, variant.bytes, by);
    bytes = next.bytes;
    count += next.count;
  }
  return { bytes, count };
}

function replaceAll(content: Buffer, what: Uint8Array, by: Uint8Array): Counted {
  const parts: Uint8Array[] = [];
  let from = 0;
  let count = 0;
  for (let at = content.indexOf(what); at !== -1; at = content.indexOf(what, from)) {
    parts.push(content.subarray(from, at), by);
    from = at + what.length;
    count++;
  }
  return { bytes: count === 0 ? content : Buffer.concat([...parts, content.subarray(from)]), count };
}

/** Words of base64 that decode to text with the secret in it are coded anew. */
function maskBase64(content: Buffer, { secret, placeholder }: MaskedSecret): Counted {
  let count = 0;
  const text = content.toString('latin1').replace(/[A-Za-z0-9+/_-]{8,}={0,2}/g, (word) => {
    const coding = /[-_]/.test(word) ? 'base64url' : 'base64';
    const plain = Buffer.from(word, coding);
    if (unpadded(plain.toString(coding)) !== unpadded(word)) return word;
    const inside = replaceAll(plain, secret, Buffer.from(placeholder));
    if (inside.count === 0) return word;
    count += inside.count;
    const coded = inside.bytes.toString(coding);
    return word.endsWith('=') || word.length % 4 === 0 ? coded : unpadded(coded);
  });
  return { bytes: count === 0 ? content : Buffer.from(text, 'latin1'), count };
}

function unpadded(word: string): string {
  return word.replace(/=+$/, '');
}

async function readBounded(path: string): Promise<Buffer | string> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (!stat.isFile()) return 'it is not a regular file';
    const buffer = Buffer.alloc(MASKED_FILE_MAX + 1);
    let length = 0;
    for (let read = 1; read > 0 && length < buffer.length; length += read)
      read = (await handle.read(buffer, length, buffer.length - length, length)).bytesRead;
    return length > MASKED_FILE_MAX ? 'it is larger than 1 MiB' : buffer.subarray(0, length);
  } catch (error) {
    return systemCode(error) ?? 'it cannot be read';
  } finally {
    await handle?.close();
  }
}
