import { spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { chunksOf } from './chunks.ts';
import { invalid, tooLarge } from './invalid.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

/** What the first bytes say (RFC 1952, RFC 8878); media types are often wrong, and local files have none. */
export function compressionOf(head: Uint8Array): Compression {
  const [a, b, c, d] = head;
  if (a === 0x1f && b === 0x8b) return 'gzip';
  return a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd ? 'zstd' : 'none';
}

/**
 * The plain bytes of a stream that may be compressed. It ends with an error when they are damaged, or out of all proportion to what
 * came in. Node 20 has no zstd: Debian's `zstd` does it, in a process of its own.
 */
export async function* plainBytes(input: Readable): AsyncGenerator<Buffer, void, void> {
  const chunks: AsyncIterator<Buffer> = input[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.done === true) throw invalid('the archive is empty');
  const counter = new Proportion();
  const joined = rejoin(first.value, chunks, counter);
  const kind = compressionOf(first.value);
  if (kind === 'none') {
    yield* joined;
    return;
  }
  for await (const chunk of kind === 'gzip' ? gunzip(joined) : unzstd(joined)) {
    counter.out(chunk.length);
    yield chunk;
  }
}

/** The stream again, after its first chunk was looked at. */
async function* rejoin(
  first: Buffer,
  rest: AsyncIterator<Buffer>,
  counter: Proportion,
): AsyncGenerator<Buffer, void, void> {
  try {
    counter.in(first.length);
    yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) {
      counter.in(next.value.length);
      yield next.value;
    }
  } finally {
    await rest.return?.();
  }
}

/** What comes out, and out of how much. Small archives of zeros are common and harmless: the ratio counts only beyond a size. */
class Proportion {
  #in = 0;
  #out = 0;

  in(bytes: number): void {
    this.#in += bytes;
  }

  out(bytes: number): void {
    this.#out += bytes;
    // Headers take a place too, but never more than the content may.
    if (this.#out > 2 * CAPS.imageBytes)
      throw tooLarge('the archive unpacks to too much', `at most ${2 * CAPS.imageBytes} bytes`);
    if (this.#out > CAPS.imageRatioFreeBytes && this.#out > this.#in * CAPS.imageRatio)
      throw tooLarge(
        'the archive unpacks to more than it could honestly hold',
        `${this.#out} bytes out of ${this.#in}, at most ${CAPS.imageRatio} times as many`,
      );
  }
}

async function* gunzip(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  const unzip = createGunzip();
  const fed = feed(input, unzip);
  try {
    for await (const chunk of unzip) yield chunk;
    await fed;
  } catch (error) {
    throw systemCode(error)?.startsWith('Z_') === true
      ? invalid('the archive is damaged', 'its gzip data cannot be read', error)
      : error;
  } finally {
    unzip.destroy();
  }
}

/** Writes all of the input, with back-pressure. An error of the input ends the output, and is the answer. */
async function feed(input: AsyncIterable<Buffer>, output: Writable): Promise<unknown> {
  try {
    for await (const chunk of input) {
      if (output.destroyed) return undefined;
      if (!output.write(chunk)) await writable(output);
    }
    output.end();
    return undefined;
  } catch (error) {
    output.destroy(error instanceof Error ? error : new Error(String(error)));
    return error;
  }
}

function writable(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

async function* unzstd(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  // The window of 128 MiB bounds its memory (zstd(1), --memory).
  const child = spawn('zstd', ['--decompress', '--stdout', '--quiet', '--memory=128MB'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', (error) => reject(systemCode(error) === 'ENOENT' ? noZstd() : error));
    child.on('close', (code) => resolve(code));
  });
  ended.catch(() => undefined);
  child.stdin.on('error', () => undefined);
  const fed = feed(input, child.stdin);
  try {
    yield* chunksOf(child.stdout);
    const problem = await fed;
    if (problem !== undefined) throw problem;
    if ((await ended) !== 0) throw invalid('the archive is damaged', 'its zstd data cannot be read');
  } finally {
    child.kill('SIGKILL');
  }
}

function noZstd(): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', {
    what: 'the archive is compressed with zstd, and this machine has no zstd program',
    next: 'Install the package zstd, or compress the archive with gzip.',
  });
}
