import type { Readable } from 'node:stream';

/** The chunks of a binary stream, typed. */
export async function* chunksOf(stream: Readable): AsyncGenerator<Buffer, void, void> {
  const chunks: AsyncIterable<unknown> = stream;
  for await (const chunk of chunks) if (Buffer.isBuffer(chunk)) yield chunk;
}
