import { constants, closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { readSmallFile, sha256 } from './files.ts';

/** That a person read a project policy and what of it they accepted. */
export interface TrustRecord {
  /** Real path of the policy file. */
  readonly path: string;
  /** Of its bytes; whatever changes them voids the record. */
  readonly sha256: string;
  /** Keys of the accepted widenings; none when only the tightenings count. */
  readonly accepted: readonly string[];
  /** ISO 8601. */
  readonly time: string;
}

/** Where the record of a policy file stands. */
export function trustFile(stateDir: string, policyFile: string): string {
  return path.join(stateDir, 'trust', `${sha256(policyFile)}.json`);
}

/** The record of a policy file; undefined when there is none, or what stands there is not one that Glovebox wrote for this path. */
export function readTrust(stateDir: string, policyFile: string): TrustRecord | undefined {
  try {
    const file = readSmallFile(trustFile(stateDir, policyFile), 'private');
    const record: unknown = file === undefined ? undefined : JSON.parse(file.bytes.toString('utf8'));
    return isRecord(record) && record.path === policyFile ? record : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof GloveboxError) return undefined;
    throw error;
  }
}

/** Writes a record, atomically and for its owner alone. */
export function writeTrust(stateDir: string, record: TrustRecord): void {
  ensurePrivateDir(stateDir);
  ensurePrivateDir(path.join(stateDir, 'trust'));
  writePrivateFile(
    trustFile(stateDir, record.path),
    `${JSON.stringify({ version: 1, ...record }, null, 2)}\n`,
  );
}

/** Removes a record; answers whether there was one. */
export function removeTrust(stateDir: string, policyFile: string): boolean {
  try {
    rmSync(trustFile(stateDir, policyFile));
    return true;
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return false;
    throw new GloveboxError('E_IO', {
      what: `cannot remove ${trustFile(stateDir, policyFile)}`,
      why: systemCode(error) ?? String(error),
      cause: error,
    });
  }
}

/** Replaces a file in one step, mode 0600. Preconditions: the directory is private. */
export function writePrivateFile(target: string, text: string): void {
  const temporary = `${target}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const fd = openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new GloveboxError('E_IO', {
      what: `cannot write ${target}`,
      why: systemCode(error) ?? String(error),
      cause: error,
    });
  }
}

function isRecord(value: unknown): value is TrustRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { path: file, sha256: hash, accepted, time } = value as Partial<Record<keyof TrustRecord, unknown>>;
  const strings = [file, hash, time].every((item) => typeof item === 'string');
  return strings && Array.isArray(accepted) && accepted.every((item) => typeof item === 'string');
}
