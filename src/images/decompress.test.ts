import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { plainBytes } from './decompress.ts';

async function read(
  chunks: Iterable<Buffer> | AsyncIterable<Buffer>,
): Promise<{ bytes: number; text: string }> {
  let bytes = 0;
  let text = '';
  for await (const chunk of plainBytes(Readable.from(chunks, { objectMode: false }))) {
    bytes += chunk.length;
    if (text.length < 100) text += chunk.toString('latin1');
  }
  return { bytes, text };
}

const zstd = (input: Buffer): Buffer => spawnSync('zstd', ['-q', '-c'], { input, maxBuffer: 1 << 28 }).stdout;
const hasZstd = spawnSync('zstd', ['--version']).status === 0;

/** A gzip stream of zeros that is made as it is read. */
function* zeros(mebibytes: number): Generator<Buffer> {
  // Members follow each other and make one stream (RFC 1952 §2.2).
  const member = gzipSync(Buffer.alloc(1024 * 1024));
  for (let i = 0; i < mebibytes; i++) yield member;
}

describe('plainBytes', () => {
  it('undoes gzip and zstd by their first bytes, and leaves the rest as it is', async () => {
    const body = Buffer.from('hello '.repeat(10_000));
    for (const coded of [body, gzipSync(body), ...(hasZstd ? [zstd(body)] : [])]) {
      const found = await read([coded.subarray(0, 1000), coded.subarray(1000)]);
      expect(found.bytes).toBe(body.length);
      expect(found.text.startsWith('hello hello')).toBe(true);
    }
  });

  it('damage is one clear error, wherever it is', async () => {
    for (const whole of [gzipSync(randomBytes(100_000)), ...(hasZstd ? [zstd(randomBytes(100_000))] : [])]) {
      const flipped = Buffer.from(whole);
      flipped[50_000] = (flipped[50_000] ?? 0) ^ 0xff;
      for (const bytes of [whole.subarray(0, 50_000), flipped, whole.subarray(0, 10)])
        await expect(read([bytes])).rejects.toMatchObject({ code: 'E_IMAGE_INVALID' });
    }
  });

  it('ends a bomb long before it has filled anything', async () => {
    await expect(read(zeros(2000))).rejects.toMatchObject({ code: 'E_IMAGE_TOO_LARGE' });
  });

  it.skipIf(!hasZstd)('ends a zstd bomb too', async () => {
    await expect(read([zstd(Buffer.alloc(300 * 1024 * 1024))])).rejects.toMatchObject({
      code: 'E_IMAGE_TOO_LARGE',
    });
  });

  it('passes an error of the source on', async () => {
    async function* broken(): AsyncGenerator<Buffer> {
      yield gzipSync(randomBytes(10_000)).subarray(0, 5000);
      throw new Error('the line broke');
    }
    await expect(read(broken())).rejects.toThrow('the line broke');
    await expect(read([])).rejects.toMatchObject({ code: 'E_IMAGE_INVALID' });
  });
});
