import { readFileSync } from 'node:fs';
import { GloveboxError } from '../../base/errors.ts';
import { printablePath } from '../../base/path-bytes.ts';
import type { ImageRecord } from '../contract.ts';
import { isDigest } from '../digest.ts';
import type { UnpackReport } from '../unpack/budget.ts';

/** A file of the store that we did not write, or whose disk lost a part of it. */
export function damaged(files: readonly string[], cause?: unknown): GloveboxError {
  return new GloveboxError('E_IO', {
    what: `the image store is damaged: ${files.map(printablePath).join(', ')} cannot be read`,
    why: 'nobody can say which base system it uses',
    next: 'Remove the image with `glovebox image remove NAME`, or the file, and pull or import it again.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** @throws E_IO for a damaged file, a system error for one that is not there */
export function readRecord(file: string): ImageRecord {
  const value = readJson(file);
  if (isRecord(value)) return value;
  throw damaged([file]);
}

/** @throws as `readRecord` */
export function readReport(file: string): UnpackReport {
  const value = readJson(file);
  if (isReport(value)) return value;
  throw damaged([file]);
}

function readJson(file: string): unknown {
  const text = readFileSync(file, 'utf8');
  try {
    return JSON.parse(text);
  } catch (error) {
    throw damaged([file], error);
  }
}

function isReport(value: unknown): value is UnpackReport {
  return (
    typeof value === 'object' &&
    value !== null &&
    'entries' in value &&
    typeof value.entries === 'number' &&
    'bytes' in value &&
    typeof value.bytes === 'number' &&
    'skipped' in value &&
    Array.isArray(value.skipped) &&
    'setidDropped' in value
  );
}

function isRecord(value: unknown): value is ImageRecord {
  if (typeof value !== 'object' || value === null) return false;
  return (
    'name' in value &&
    typeof value.name === 'string' &&
    'chain' in value &&
    isDigest(value.chain) &&
    'blobs' in value &&
    Array.isArray(value.blobs) &&
    value.blobs.every(isDigest) &&
    'config' in value &&
    typeof value.config === 'object' &&
    'report' in value &&
    isReport(value.report)
  );
}
