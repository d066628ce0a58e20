import { createReadStream } from 'node:fs';

const NEWLINE = 0x0a;
/** A line of the log is far shorter; a longer one is handed on in pieces, which are no records. */
const MAX_LINE_BYTES = 1024 * 1024;

/** A line of a file without its newline. */
export interface RawLine {
  readonly bytes: Buffer;
  /** Counts from 1. */
  readonly number: number;
  /** False for a last line without newline. */
  readonly complete: boolean;
}

/** The lines of a file, from a byte offset on, in bounded memory. */
export async function* rawLines(file: string, start = 0): AsyncGenerator<RawLine> {
  let rest: Buffer = Buffer.alloc(0);
  let number = 0;
  for await (const chunk of createReadStream(file, { start, highWaterMark: 256 * 1024 })) {
    const bytes: Buffer = chunk;
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    let from = 0;
    for (let at = rest.indexOf(NEWLINE); at !== -1; at = rest.indexOf(NEWLINE, from)) {
      yield { bytes: rest.subarray(from, at), number: ++number, complete: true };
      from = at + 1;
    }
    rest = rest.subarray(from);
    if (rest.length <= MAX_LINE_BYTES) continue;
    yield { bytes: rest, number: ++number, complete: false };
    rest = Buffer.alloc(0);
  }
  if (rest.length > 0) yield { bytes: rest, number: ++number, complete: false };
}
