import { closeSync, fstatSync, openSync, readSync, watch } from 'node:fs';
import { once } from 'node:events';
import path from 'node:path';
import { systemCode } from '../base/errors.ts';
import { makeDirs } from '../base/paths.ts';
import type { AuditRecord } from './contract.ts';
import { auditDir, CURRENT, sizeOf } from './files.ts';
import { parseRecord } from './record.ts';

export interface FollowOptions {
  readonly stateDir: string;
  readonly signal: AbortSignal;
  readonly onRecord: (record: AuditRecord) => void;
}

/** Hands over every record that is written from now on, also across rotations, until the signal. Woken by inotify(7), no polling. */
export async function followAudit(options: FollowOptions): Promise<void> {
  const dir = auditDir(options.stateDir);
  makeDirs(dir);
  const follower = new Follower(path.join(dir, CURRENT), options.onRecord);
  const watcher = watch(dir, () => follower.pump());
  try {
    follower.pump();
    if (!options.signal.aborted) await once(options.signal, 'abort');
  } finally {
    watcher.close();
    follower.close();
  }
}

const CHUNK_BYTES = 64 * 1024;

class Follower {
  readonly #file: string;
  readonly #onRecord: (record: AuditRecord) => void;
  #fd: number | undefined;
  #offset: number;
  #rest = '';

  constructor(file: string, onRecord: (record: AuditRecord) => void) {
    this.#file = file;
    this.#onRecord = onRecord;
    this.#offset = Math.max(sizeOf(file), 0);
  }

  /** Reads what is new; after a rotation first the rest of the old file, which stays open under its new name. */
  pump(): void {
    this.#fd ??= this.#open();
    if (this.#fd === undefined) return;
    this.#read(this.#fd);
    const next = this.#open();
    if (next === undefined) return;
    if (fstatSync(next).ino === fstatSync(this.#fd).ino) {
      closeSync(next);
      return;
    }
    this.#read(this.#fd);
    closeSync(this.#fd);
    this.#fd = next;
    this.#offset = 0;
    this.#rest = '';
    this.#read(next);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): number | undefined {
    try {
      return openSync(this.#file, 'r');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  #read(fd: number): void {
    // A repair truncates the unfinished end and writes on from there.
    if (fstatSync(fd).size < this.#offset) {
      this.#offset = fstatSync(fd).size;
      this.#rest = '';
    }
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const read = readSync(fd, chunk, 0, chunk.length, this.#offset);
      if (read === 0) return;
      this.#offset += read;
      // latin1 keeps bytes apart: a character may be split between two reads.
      const lines = (this.#rest + chunk.toString('latin1', 0, read)).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) {
        const record = parseRecord(Buffer.from(line, 'latin1').toString('utf8'));
        if (record !== undefined) this.#onRecord(record);
      }
    }
  }
}
