import { createHash } from 'node:crypto';
import { closeSync, fstatSync, readSync, writeSync } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { openFileAt } from './descriptors.ts';

const CHUNK = 1024 * 1024;

/** How much of a file is looked at to tell text from binary: git's own figure. */
const SNIFF_BYTES = 8000;

/** What was read of a file. */
export interface Content {
  readonly sha256: string;
  /** Bytes. */
  readonly size: number;
  readonly binary: boolean;
}

/** Work in slices: whoever shares the process gets a turn after so many bytes and system calls. */
export class Turns {
  #calls = 0;
  readonly buffer: Buffer = Buffer.alloc(CHUNK);

  async take(cost = 1): Promise<void> {
    this.#calls += cost;
    if (this.#calls < 64) return;
    this.#calls = 0;
    await breathe();
  }
}

/**
 * Reads an open file to its end, at most `most` bytes, into `output` where there is one. Undefined when there is more: the file may grow
 * while it is read, and may say any size.
 */
export async function drain(
  input: number,
  turns: Turns,
  { most, output }: { readonly most: number; readonly output?: number },
): Promise<Content | undefined> {
  const hash = createHash('sha256');
  let size = 0;
  let binary = false;
  for (;;) {
    const n = readSync(input, turns.buffer, 0, CHUNK, null);
    if (n === 0) return { sha256: hash.digest('hex'), size, binary };
    const chunk = turns.buffer.subarray(0, n);
    if (size < SNIFF_BYTES) binary ||= chunk.subarray(0, SNIFF_BYTES - size).includes(0);
    size += n;
    if (size > most) return undefined;
    hash.update(chunk);
    if (output !== undefined) for (let done = 0; done < n;) done += writeSync(output, chunk, done);
    await turns.take(n === CHUNK ? 32 : 1);
  }
}

/** The content of a regular file in a directory; undefined when it is none, or larger than `most`. */
export async function readFileAt(
  dir: number,
  name: string,
  { turns, most }: { readonly turns: Turns; readonly most: number },
): Promise<(Content & { readonly mode: number }) | undefined> {
  const input = openFileAt(dir, name);
  try {
    const stat = fstatSync(input);
    if (!stat.isFile()) return undefined;
    const content = await drain(input, turns, { most });
    return content === undefined ? undefined : { ...content, mode: stat.mode & 0o777 };
  } finally {
    closeSync(input);
  }
}
