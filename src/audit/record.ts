import { createHash } from 'node:crypto';
import type { AuditEvent, AuditRecord } from './contract.ts';
import { isEventKind } from './events/index.ts';
import { payloadJson } from './redact.ts';

/** `prev` of the first record of all. */
export const GENESIS = '0'.repeat(64);

/** Where the chain stands: the last record's number and the hash of its line. */
export interface Head {
  /** -1 before the first record. */
  readonly seq: number;
  readonly hash: string;
}

export const EMPTY_HEAD: Head = { seq: -1, hash: GENESIS };

/** An event on its way into the log. */
export interface PendingRecord {
  readonly event: AuditEvent;
  /** UTC, RFC 3339 with milliseconds; when it happened, not when it was written. */
  readonly at: string;
  /** Canonical JSON of the payload. */
  readonly payload: string;
}

/** Takes the time and makes the payload fit. */
export function pendingRecord(event: AuditEvent, now: number = Date.now()): PendingRecord {
  return { event, at: new Date(now).toISOString(), payload: payloadJson(event.data) };
}

/** The line of a record without its newline: canonical JSON, put together in key order so that the payload is printed once. */
export function recordLine(pending: PendingRecord, head: Head): string {
  const { event, at, payload } = pending;
  const sandbox = event.sandbox === undefined ? '' : `,"sandbox":${JSON.stringify(event.sandbox)}`;
  const fields = `"at":"${at}","data":${payload},"kind":"${event.kind}","prev":"${head.hash}"${sandbox}`;
  return `{${fields},"seq":${head.seq + 1},"v":1}`;
}

/** SHA-256 of a line without its newline, hex. */
export function lineHash(line: string | Uint8Array): string {
  return createHash('sha256').update(line).digest('hex');
}

/** The record of a line, or undefined when it is none. */
export function parseRecord(line: string): AuditRecord | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is AuditRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields: Partial<Record<keyof AuditRecord, unknown>> = value;
  return (
    fields.v === 1 &&
    typeof fields.seq === 'number' &&
    Number.isSafeInteger(fields.seq) &&
    typeof fields.at === 'string' &&
    typeof fields.kind === 'string' &&
    isEventKind(fields.kind) &&
    (fields.sandbox === undefined || typeof fields.sandbox === 'string') &&
    typeof fields.data === 'object' &&
    fields.data !== null &&
    typeof fields.prev === 'string' &&
    /^[0-9a-f]{64}$/.test(fields.prev)
  );
}
