import { lstatSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Artefact } from '../contract.ts';
import { hashFile, sealOf } from './seal.ts';

/** What stands beside a file of the cache. */
export interface EntryRecord {
  readonly version: 1;
  readonly bytes: number;
  /** Empty: it was not hashed, and the seal alone tells whether it is what was written. */
  readonly sha256: string;
  /** Of the file when its content was last hashed: while it holds, the content need not be read again. */
  readonly seal: string;
  /** What a newer entry of the same slot replaces. */
  readonly slot: string;
}

const DATA = 'data';
const RECORD = 'record.json';

export const dataFile = (entry: string): string => path.join(entry, DATA);

/** The artefact of an entry, if it is whole, ours, and what was written; else undefined, and it has to be made again. */
export async function readEntry(entry: string): Promise<Artefact | undefined> {
  const record = readRecord(entry);
  const file = dataFile(entry);
  if (record === undefined || !isOurs(file, record.bytes)) return undefined;
  const { sha256, bytes } = record;
  const seal = sealOf(file);
  if (seal === undefined) return undefined;
  if (seal === record.seal) return { file, sha256, bytes };
  // Moved to another disk, restored from a backup, or touched: the content decides.
  if (sha256 === '' || (await hashFile(file)) !== sha256) return undefined;
  try {
    writeRecord(entry, { ...record, seal });
  } catch {
    // A cache that cannot be written is read again the next time.
  }
  return { file, sha256, bytes };
}

/** Describes a file that was just written. Preconditions: nobody else writes to the entry. */
export async function sealEntry(
  entry: string,
  { slot, unread }: { readonly slot: string; readonly unread: boolean },
): Promise<void> {
  const file = dataFile(entry);
  const bytes = lstatSync(file).size;
  const sha256 = unread ? '' : await hashFile(file);
  writeRecord(entry, { version: 1, bytes, sha256, seal: sealOf(file) ?? '', slot });
}

/** Undefined for one that cannot be read: the entry is worth nothing then. */
export function readRecord(entry: string): EntryRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path.join(entry, RECORD), 'utf8'));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function writeRecord(entry: string, record: EntryRecord): void {
  const draft = path.join(entry, `${RECORD}.${process.pid}`);
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
  renameSync(draft, path.join(entry, RECORD));
}

function isOurs(file: string, bytes: number): boolean {
  const stat = lstatSync(file, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.uid === process.getuid?.() && stat.size === bytes;
}

function isRecord(value: unknown): value is EntryRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const texts = [fields['sha256'], fields['seal'], fields['slot']];
  return (
    fields['version'] === 1 &&
    typeof fields['bytes'] === 'number' &&
    texts.every((text) => typeof text === 'string')
  );
}
