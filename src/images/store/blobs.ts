import { closeSync, createReadStream, openSync, renameSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { verified, type Digest, type Expected } from '../digest.ts';
import { statOf } from '../tree.ts';
import type { StoreLayout } from './layout.ts';

/** Where the bytes of a blob come from; opened only when the store does not have it. */
export type OpenBlob = () => Promise<AsyncIterable<Buffer>>;

/**
 * Makes sure that a blob is in the store, whole and as announced. Of two processes that want the same one fetches it.
 *
 * @throws E_IMAGE_DIGEST, E_IMAGE_TOO_LARGE, E_IMAGE_SPACE
 */
export async function ensureBlob(
  layout: StoreLayout,
  expected: Expected & { readonly digest: Digest },
  open: OpenBlob,
): Promise<void> {
  const file = layout.blob(expected.digest);
  if (statOf(file) !== undefined) return;
  await layout.lockedFor(expected.digest, async () => {
    if (statOf(file) !== undefined) return;
    await layout.scratch(async (dir) => {
      const draft = path.join(dir, 'blob');
      await writeStream(draft, verified(await open(), expected));
      renameSync(draft, file);
    });
  });
}

export function readBlob(layout: StoreLayout, digest: Digest): Readable {
  return createReadStream(layout.blob(digest), { highWaterMark: 256 * 1024 });
}

/** Writes a stream to a new file. */
export async function writeStream(file: string, chunks: AsyncIterable<Buffer>): Promise<void> {
  const fd = openSync(file, 'wx', 0o600);
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length;) at += writeSync(fd, chunk, at);
    }
  } finally {
    closeSync(fd);
  }
}
