import { createHash } from 'node:crypto';
import { createReadStream, lstatSync, type BigIntStats } from 'node:fs';
import { chunksOf } from '../../images/chunks.ts';

/**
 * Changes whenever a file is replaced or written: nobody but root sets the last of these times back. Undefined where nothing is.
 */
export function sealOf(file: string): string | undefined {
  try {
    const stat = lstatSync(file, { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? undefined : sealText(stat);
  } catch {
    return undefined;
  }
}

export function sealText(stat: BigIntStats): string {
  return [stat.dev, stat.ino, stat.mode, stat.uid, stat.gid, stat.size, stat.mtimeNs, stat.ctimeNs].join(' ');
}

/** SHA-256 of a file's content, hex. */
export async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of chunksOf(createReadStream(file, { highWaterMark: 1024 * 1024 })))
    hash.update(chunk);
  return hash.digest('hex');
}
