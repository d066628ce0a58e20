import { systemCode } from '../base/errors.ts';
import type { AuditRecord, EventKind } from './contract.ts';
import { auditDir, logFiles } from './files.ts';
import { rawLines } from './lines.ts';
import { parseRecord } from './record.ts';

/** What to read; absent fields do not narrow. */
export interface AuditFilter {
  readonly sandbox?: string;
  readonly kinds?: readonly EventKind[];
  /** Milliseconds since the epoch, inclusive. */
  readonly sinceMs?: number;
}

/** The records of the log, oldest first. Lines that are no records are passed over: `verifyAudit` reports them. */
export async function* readAudit(
  options: { readonly stateDir: string },
  filter: AuditFilter = {},
): AsyncGenerator<AuditRecord> {
  for await (const record of allRecords(auditDir(options.stateDir))) {
    if (matchesFilter(record, filter)) yield record;
  }
}

async function* allRecords(dir: string): AsyncGenerator<AuditRecord> {
  let next = 0;
  for (let again = true; again;) {
    again = false;
    for await (const record of listedRecords(dir)) {
      // A rotation renamed a file before it was opened: the list is made again, and what was read is skipped.
      if (record === 'gone') again = true;
      else if (record.seq >= next) {
        next = record.seq + 1;
        yield record;
      }
    }
  }
}

/** The records of the files there are now; ends with `gone` when one was renamed meanwhile. */
async function* listedRecords(dir: string): AsyncGenerator<AuditRecord | 'gone'> {
  for (const file of logFiles(dir)) {
    for await (const record of fileRecords(file.path)) {
      yield record;
      if (record === 'gone') return;
    }
  }
}

/** True when a record is wanted. */
export function matchesFilter(record: AuditRecord, filter: AuditFilter): boolean {
  if (filter.sandbox !== undefined && record.sandbox !== filter.sandbox) return false;
  if (filter.kinds !== undefined && !filter.kinds.includes(record.kind)) return false;
  return filter.sinceMs === undefined || Date.parse(record.at) >= filter.sinceMs;
}

async function* fileRecords(file: string): AsyncGenerator<AuditRecord | 'gone'> {
  try {
    for await (const { bytes } of rawLines(file)) {
      const record = parseRecord(bytes.toString('utf8'));
      if (record !== undefined) yield record;
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    yield 'gone';
  }
}
