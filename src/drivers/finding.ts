import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ensurePrivateDir } from '../base/paths.ts';

/** What a trial found out. Losing it costs a trial, so what cannot be read is not there. */
export function readFinding<T>(file: string, isFinding: (value: unknown) => value is T): T | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return isFinding(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps it for the next start, which finds it out again where that fails. */
export function rememberFinding(file: string, finding: unknown): void {
  try {
    const draft = path.join(ensurePrivateDir(path.dirname(file)), `${path.basename(file)}.${process.pid}`);
    writeFileSync(draft, JSON.stringify(finding), { mode: 0o600 });
    renameSync(draft, file);
  } catch {
    // See above.
  }
}
