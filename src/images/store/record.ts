import { GloveboxError } from '../../base/errors.ts';
import type { ImageRecord } from '../contract.ts';
import { isDigest } from '../digest.ts';
import type { UnpackReport } from '../unpack/budget.ts';

const damaged = (): GloveboxError =>
  new GloveboxError('E_IO', {
    what: 'an entry of the image store is damaged',
    next: 'Remove it with `glovebox image remove`, and pull or import the image again.',
  });

/** @throws E_IO for a file that we did not write, or whose disk lost a part of it */
export function parseRecord(text: string): ImageRecord {
  const value = parsed(text);
  if (isRecord(value)) return value;
  throw damaged();
}

/** @throws E_IO */
export function parseReport(text: string): UnpackReport {
  const value = parsed(text);
  if (isReport(value)) return value;
  throw damaged();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw damaged();
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
