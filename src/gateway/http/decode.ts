import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { BrotliDecompress, Gunzip, Inflate } from 'node:zlib';
import type { RawHeaders } from '../../net/http-head.ts';
import { tokensOf } from '../../net/http-head.ts';
import type { Scrubber } from '../contract.ts';
import type { BodySink } from './contract.ts';

export type Coding = 'identity' | 'gzip' | 'deflate' | 'br';

/** Decoded bytes that no ratio is asked of. */
const FREE_BYTES = 1024 * 1024;

/** The coding of a response (RFC 9110 §8.4), undefined for one that is not undone: several, or an unknown one. */
export function codingOf(headers: RawHeaders): Coding | undefined {
  const codings = tokensOf(headers, 'content-encoding').filter(
    (coding) => coding !== '' && coding !== 'identity',
  );
  const [coding = 'identity'] = codings;
  if (codings.length > 1) return undefined;
  if (coding === 'x-gzip') return 'gzip';
  return coding === 'identity' || coding === 'gzip' || coding === 'deflate' || coding === 'br'
    ? coding
    : undefined;
}

/** Takes secrets out of a body that passes. */
export class ScrubSink implements BodySink {
  readonly #sink: BodySink;
  readonly #scrubber: Scrubber;

  constructor(sink: BodySink, scrubber: Scrubber) {
    this.#sink = sink;
    this.#scrubber = scrubber;
  }

  write(chunk: Buffer): boolean {
    return this.#pass(this.#scrubber.update(chunk));
  }

  onDrain(resume: () => void): void {
    this.#sink.onDrain(resume);
  }

  end(trailers?: RawHeaders): void {
    this.#pass(this.#scrubber.end());
    if (trailers === undefined) this.#sink.end();
    else this.#sink.end(this.#scrubber.headers(trailers));
  }

  abort(): void {
    this.#sink.abort();
  }

  #pass(bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    return this.#sink.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
}

/** Undoes the coding of a body that passes. More than `ratio` bytes for one are a bomb, and cut the body. */
export class DecodeSink implements BodySink {
  readonly #sink: BodySink;
  readonly #zlib: Gunzip | Inflate | BrotliDecompress;
  readonly #ratio: number;
  #trailers: RawHeaders | undefined;
  #encoded = 0;
  #decoded = 0;
  #over = false;

  constructor(sink: BodySink, coding: Exclude<Coding, 'identity'>, ratio: number) {
    this.#sink = sink;
    this.#ratio = ratio;
    this.#zlib = decoderFor(coding);
    this.#zlib.on('data', (chunk: Buffer) => this.#pass(chunk));
    this.#zlib.once('end', () => this.#finish());
    this.#zlib.once('error', () => this.abort());
    sink.onDrain(() => this.#zlib.resume());
  }

  write(chunk: Buffer): boolean {
    this.#encoded += chunk.length;
    return this.#over || this.#zlib.write(chunk);
  }

  onDrain(resume: () => void): void {
    this.#zlib.on('drain', resume);
  }

  end(trailers?: RawHeaders): void {
    this.#trailers = trailers;
    this.#zlib.end();
  }

  abort(): void {
    if (this.#over) return;
    this.#over = true;
    this.#zlib.destroy();
    this.#sink.abort();
  }

  #pass(chunk: Buffer): void {
    if (this.#over) return;
    this.#decoded += chunk.length;
    if (this.#decoded > FREE_BYTES + this.#encoded * this.#ratio) return this.abort();
    if (!this.#sink.write(chunk)) this.#zlib.pause();
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#sink.end(this.#trailers);
  }
}

function decoderFor(coding: Exclude<Coding, 'identity'>): Gunzip | Inflate | BrotliDecompress {
  if (coding === 'gzip') return createGunzip();
  return coding === 'br' ? createBrotliDecompress() : createInflate();
}
