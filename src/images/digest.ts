import { createHash } from 'node:crypto';
import { GloveboxError } from '../base/errors.ts';
import { invalid, tooLarge } from './invalid.ts';

/** `sha256:` and 64 hex digits, the one form that is accepted (OCI image specification, "Digests"). */
export type Digest = `sha256:${string}`;

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && /^sha256:[0-9a-f]{64}$/.test(text);
}

/** @throws E_IMAGE_INVALID */
export function digestOf(text: unknown, what: string): Digest {
  if (isDigest(text)) return text;
  throw invalid(
    `${what} has no usable digest`,
    `${JSON.stringify(text)?.slice(0, 100)} is not sha256:… with 64 hex digits`,
  );
}

export function sha256(bytes: string | Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** The 64 digits: names of files and locks. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length);
}

/** Identifies a stack of layers (OCI image specification, "Layer ChainID"). */
export function chainId(diffIds: readonly Digest[]): Digest {
  const [first, ...rest] = diffIds;
  if (first === undefined) return sha256('');
  return rest.reduce<Digest>((chain, diffId) => sha256(`${chain} ${diffId}`), first);
}

/** Passes a stream on while hashing it; `digest` holds once it has ended. */
export class HashingStream {
  readonly #hash = createHash('sha256');
  #bytes = 0;

  async *over(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
    for await (const chunk of chunks) {
      this.#hash.update(chunk);
      this.#bytes += chunk.length;
      yield chunk;
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  digest(): Digest {
    return `sha256:${this.#hash.digest('hex')}`;
  }
}

/** What a stream has to be. Without a size, at most `most` bytes. */
export interface Expected {
  readonly what: string;
  readonly digest?: Digest;
  readonly size?: number;
  readonly most: number;
}

/** Passes a stream on, and ends it with an error as soon as it cannot be what was announced. */
export async function* verified(
  chunks: AsyncIterable<Buffer>,
  expected: Expected,
): AsyncGenerator<Buffer, void, void> {
  const hashing = new HashingStream();
  const most = expected.size ?? expected.most;
  for await (const chunk of hashing.over(chunks)) {
    if (hashing.bytes > most) throw oversize(expected, most);
    yield chunk;
  }
  if (expected.size !== undefined && hashing.bytes !== expected.size)
    throw mismatch(expected.what, `${expected.size} bytes were announced, ${hashing.bytes} came`);
  const digest = hashing.digest();
  if (expected.digest !== undefined && digest !== expected.digest)
    throw mismatch(expected.what, `${expected.digest} was announced, ${digest} came`);
}

function oversize(expected: Expected, most: number): GloveboxError {
  return expected.size === undefined
    ? tooLarge(`${expected.what} is too large`, `at most ${most} bytes`)
    : mismatch(expected.what, `${most} bytes were announced, and more came`);
}

/** The bytes are not what they were said to be. */
export function mismatch(what: string, why: string): GloveboxError {
  return new GloveboxError('E_IMAGE_DIGEST', { what: `${what} is not what its digest says`, why });
}
