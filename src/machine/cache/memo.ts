import { createHash } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { sealOf } from './seal.ts';

/** What was worked out from files, and how they stood before they were read. */
interface Memo {
  readonly key: string;
  readonly seals: Readonly<Record<string, string>>;
}

/** Reads a file that the key follows from. */
export type ReadSource = (file: string) => Buffer;

/**
 * The key that `derive` works out by reading files, remembered under `question` until one of these files changes. Losing what is remembered
 * costs time only, so what cannot be read or written is not there.
 */
export async function rememberedKey(
  dir: string,
  question: string,
  derive: (read: ReadSource) => Promise<string>,
): Promise<string> {
  const file = path.join(dir, createHash('sha256').update(question).digest('hex').slice(0, 32));
  const known = readMemo(file);
  if (known !== undefined && isCurrent(known)) return known.key;
  const seals: Record<string, string> = {};
  const key = await derive((source) => {
    // Before it is read: one that is written meanwhile has another seal the next time.
    seals[source] = sealOf(source) ?? '';
    return readFileSync(source);
  });
  writeMemo(file, { key, seals });
  return key;
}

function isCurrent({ seals }: Memo): boolean {
  return Object.entries(seals).every(([source, seal]) => sealOf(source) === seal);
}

function readMemo(file: string): Memo | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    return isMemo(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isMemo(value: unknown): value is Memo {
  if (typeof value !== 'object' || value === null || !('key' in value) || !('seals' in value)) return false;
  const { key, seals } = value;
  return (
    typeof key === 'string' && typeof seals === 'object' && seals !== null && Object.keys(seals).length > 0
  );
}

function writeMemo(file: string, memo: Memo): void {
  try {
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(memo), { mode: 0o600 });
    renameSync(draft, file);
  } catch {
    // The next start works it out again.
  }
}
