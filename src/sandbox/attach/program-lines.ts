import { createInterface } from 'node:readline';
import type { Socket } from 'node:net';
import { isRecord } from '../listing.ts';

/** Bytes of output or input in one line; base64 makes a third more of it. */
export const LINE_DATA_BYTES = 256 * 1024;

/** Each line of a connection as JSON, until it ends; what is no object is left out. Whoever reads slowly slows the other side down. */
export async function* linesOf(
  socket: Socket,
): AsyncGenerator<Readonly<Record<string, unknown>>, void, undefined> {
  const lines = createInterface({ input: socket, crlfDelay: Infinity });
  // It looks for an orderly end only.
  socket.once('close', () => lines.close());
  if (socket.destroyed) lines.close();
  try {
    for await (const line of lines) {
      const value = parsed(line);
      if (isRecord(value)) yield value;
    }
  } catch {
    // A connection that breaks has ended.
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** Writes one line; resolves when there is room for the next, or nobody reads any more. */
export function sendLine(socket: Socket, value: unknown): Promise<void> {
  if (!socket.writable || socket.write(`${JSON.stringify(value)}\n`)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.once('drain', done);
    socket.once('close', done);
  });
}

/** Pieces of at most `LINE_DATA_BYTES`. */
export function* piecesOf(data: Buffer): Generator<Buffer, void, undefined> {
  for (let at = 0; at < data.length; at += LINE_DATA_BYTES) yield data.subarray(at, at + LINE_DATA_BYTES);
}

/** What another process says to a command. Each line is answered with `{ "taken": true }`. */
export type ProgramLine =
  | { readonly stdin: string }
  | { readonly eof: true }
  | { readonly signal: number }
  | { readonly rows: number; readonly cols: number };

export const stdinLines = (data: Uint8Array): readonly ProgramLine[] =>
  [...piecesOf(Buffer.from(data))].map((piece) => ({ stdin: piece.toString('base64') }));
