import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { systemCode } from '../base/errors.ts';

/** The file that is being written. Full ones are renamed to `audit-<first seq>.jsonl`. */
export const CURRENT = 'audit.jsonl';

const ARCHIVE = /^audit-(\d{12})\.jsonl$/;

/** One file of the log, oldest first in lists. */
export interface LogFile {
  readonly name: string;
  readonly path: string;
  /** Sequence number of its first record, by its name; absent for the current file. */
  readonly firstSeq?: number;
}

/** Directory of the log below the state directory. */
export function auditDir(stateDir: string): string {
  return path.join(stateDir, 'audit');
}

/** Name of a full file. */
export function archiveName(firstSeq: number): string {
  return `audit-${String(firstSeq).padStart(12, '0')}.jsonl`;
}

/** Every file of the log in the order of its records; empty when there is none. */
export function logFiles(dir: string): readonly LogFile[] {
  const names = listDirectory(dir);
  const archives: LogFile[] = [];
  for (const name of names.sort()) {
    const firstSeq = ARCHIVE.exec(name)?.[1];
    if (firstSeq !== undefined)
      archives.push({ name, path: path.join(dir, name), firstSeq: Number(firstSeq) });
  }
  return names.includes(CURRENT) ? [...archives, { name: CURRENT, path: path.join(dir, CURRENT) }] : archives;
}

/** Size in bytes, or -1 when the file is not there. */
export function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? -1;
}

function listDirectory(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}
