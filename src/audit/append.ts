import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, renameSync } from 'node:fs';
import path from 'node:path';
import { CAPS } from '../base/caps.ts';
import { systemCode } from '../base/errors.ts';
import type { AuditEvent } from './contract.ts';
import { auditRepaired } from './events/audit-repaired.ts';
import { auditRotated } from './events/audit-rotated.ts';
import { auditEvent } from './events/spec.ts';
import { archiveName, CURRENT, logFiles } from './files.ts';
import {
  EMPTY_HEAD,
  lineHash,
  parseRecord,
  pendingRecord,
  recordLine,
  type Head,
  type PendingRecord,
} from './record.ts';
import { readTail, saveTorn, writeAll, type Tail } from './tail.ts';

/** What a writer remembers between appends, so that an unchanged file is not read again. */
export interface TailMemory {
  inode: number;
  size: number;
  head: Head;
}

interface AppendInput {
  readonly dir: string;
  readonly pending: readonly PendingRecord[];
  readonly memory: TailMemory;
  /** Rotate beyond this. */
  readonly maxFileBytes: number;
}

/** Appends records to the log in one write. Preconditions: the lock is held, `dir` exists. Nothing is left half-written when it throws. */
export function appendRecords(input: AppendInput): void {
  const { dir, memory } = input;
  let fd = openLog(dir);
  try {
    const own: AuditEvent[] = [];
    let at = locate(fd, dir, memory, own);
    const first = encode(own, input.pending, at.head);
    if (at.end > 0 && at.end + first.bytes.length > input.maxFileBytes) {
      if (own.length > 0) at = commit(fd, at, encode(own, [], at.head));
      const rotated = rotate(fd, dir, at.end);
      closeSync(fd);
      fd = openLog(dir);
      const bytes = encode([rotated], input.pending, at.head);
      remember(memory, fd, commit(fd, { end: 0, size: 0, head: at.head }, bytes));
      return;
    }
    remember(memory, fd, commit(fd, at, first));
  } finally {
    closeSync(fd);
  }
}

interface Place {
  /** Where the next record goes. */
  readonly end: number;
  readonly size: number;
  readonly head: Head;
}

/** O_NOFOLLOW: the directory is private, but a planted link must not redirect evidence either. */
function openLog(dir: string): number {
  return openSync(
    path.join(dir, CURRENT),
    constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
    0o600,
  );
}

/** Finds the end of the chain; adds a record of its own to `own` for a repair or for a new file. */
function locate(fd: number, dir: string, memory: TailMemory, own: AuditEvent[]): Place {
  const { ino, size } = fstatSync(fd);
  if (ino === memory.inode && size === memory.size && size > 0) return { end: size, size, head: memory.head };
  const tail = readTail(fd);
  if (tail.end < tail.size)
    own.push(auditEvent(auditRepaired, { file: CURRENT, ...saveTorn(fd, tail, dir) }));
  const head = headOf(tail);
  if (head !== undefined) return { end: tail.end, size, head };
  const previous = logFiles(dir).findLast((file) => file.firstSeq !== undefined);
  if (previous === undefined) return { end: 0, size, head: EMPTY_HEAD };
  // A writer died between the rename and the first record of the new file.
  const archive = openSync(previous.path, 'r');
  try {
    const bytes = fstatSync(archive).size;
    own.unshift(auditEvent(auditRotated, { previous: previous.name, bytes }));
    return { end: 0, size, head: headOf(readTail(archive)) ?? EMPTY_HEAD };
  } finally {
    closeSync(archive);
  }
}

function headOf(tail: Tail): Head | undefined {
  if (tail.record === undefined || tail.hash === undefined) return undefined;
  return { seq: tail.record.seq, hash: tail.hash };
}

interface Encoded {
  readonly bytes: Buffer;
  readonly head: Head;
}

function encode(own: readonly AuditEvent[], pending: readonly PendingRecord[], from: Head): Encoded {
  let head = from;
  const lines: string[] = [];
  for (const record of [...own.map((event) => pendingRecord(event)), ...pending]) {
    const line = recordLine(record, head);
    head = { seq: head.seq + 1, hash: lineHash(line) };
    lines.push(line, '\n');
  }
  return { bytes: Buffer.from(lines.join('')), head };
}

/** Writes at the end of the chain; whatever was there before is cut off only afterwards, and a failed write is taken back. */
function commit(fd: number, at: Place, { bytes, head }: Encoded): Place {
  const end = at.end + bytes.length;
  try {
    writeAll(fd, bytes, at.end);
    if (at.size > end) ftruncateSync(fd, end);
  } catch (error) {
    ftruncateSync(fd, at.end);
    throw error;
  }
  return { end, size: end, head };
}

function rotate(fd: number, dir: string, bytes: number): AuditEvent {
  const previous = archiveName(firstSeq(fd));
  renameSync(path.join(dir, CURRENT), path.join(dir, previous));
  return auditEvent(auditRotated, { previous, bytes });
}

function firstSeq(fd: number): number {
  const bytes = Buffer.alloc(CAPS.auditLineBytes);
  const text = bytes.toString('utf8', 0, readSync(fd, bytes, 0, bytes.length, 0));
  const record = parseRecord(text.slice(0, text.indexOf('\n')));
  return record?.seq ?? 0;
}

function remember(memory: TailMemory, fd: number, at: Place): void {
  memory.inode = fstatSync(fd).ino;
  memory.size = at.end;
  memory.head = at.head;
}

/** What went wrong with the disk, for a person. */
export function diskProblem(error: unknown): string {
  const code = systemCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') return `the disk is full (${code})`;
  if (code === 'EROFS') return 'the file system is read-only (EROFS)';
  return code ?? String(error);
}
