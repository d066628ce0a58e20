import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { AuditRecord } from './contract.ts';
import { lineHash, parseRecord } from './record.ts';

/** The end of a log file. */
export interface Tail {
  /** The last valid record; absent in an empty file. */
  readonly record?: AuditRecord;
  /** Hash of its line. */
  readonly hash?: string;
  /** Where the next record belongs; less than the size when the file ends in something else. */
  readonly end: number;
  readonly size: number;
}

/** First step back from the end; doubled until a record is found. A line has at most CAPS.auditLineBytes, usually a few hundred bytes. */
const STEP_BYTES = 8 * 1024;
const NEWLINE = 0x0a;

/** Finds the last valid record. Everything after it is what a killed writer or a power failure left. */
export function readTail(fd: number): Tail {
  const { size } = fstatSync(fd);
  for (let length = Math.min(size, STEP_BYTES); ; length = Math.min(size, length * 2)) {
    const start = size - length;
    const found = lastRecord(readExactly(fd, start, length), start);
    if (found !== undefined) return { ...found, size };
    if (start === 0) return { end: 0, size };
  }
}

/** The last complete and valid line of a piece of the file; lines that may begin before the piece are left alone. */
function lastRecord(bytes: Buffer, start: number): Omit<Tail, 'size'> | undefined {
  for (let newline = bytes.lastIndexOf(NEWLINE); newline !== -1;) {
    const before = newline === 0 ? -1 : bytes.lastIndexOf(NEWLINE, newline - 1);
    if (before === -1 && start > 0) return undefined;
    const line = bytes.subarray(before + 1, newline);
    const record = parseRecord(line.toString('utf8'));
    if (record !== undefined) return { record, hash: lineHash(line), end: start + newline + 1 };
    newline = before;
  }
  return undefined;
}

/** What was moved aside. */
export interface Torn {
  readonly offset: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly movedTo: string;
}

/** Copies everything from `offset` into a file of its own. The caller overwrites and truncates afterwards, so that nothing is lost in between. */
export function saveTorn(fd: number, tail: Tail, dir: string): Torn {
  const bytes = readExactly(fd, tail.end, tail.size - tail.end);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const movedTo = `torn-${Date.now()}-${sha256.slice(0, 8)}.bin`;
  const copy = openSync(path.join(dir, movedTo), 'w', 0o600);
  try {
    writeAll(copy, bytes, 0);
  } finally {
    closeSync(copy);
  }
  return { offset: tail.end, bytes: bytes.length, sha256, movedTo };
}

/** Writes everything at a position; throws what write(2) says, or when it takes nothing. */
export function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;) {
    const written = writeSync(fd, bytes, done, bytes.length - done, position + done);
    if (written === 0) throw new Error('write(2) took no bytes');
    done += written;
  }
}

function readExactly(fd: number, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const read = readSync(fd, bytes, done, length - done, position + done);
    if (read === 0) break;
    done += read;
  }
  return bytes.subarray(0, done);
}
