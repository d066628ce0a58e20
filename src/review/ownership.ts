import { chmodSync, closeSync, constants, lchownSync, openSync, type BigIntStats } from 'node:fs';
import { O_PATH } from '../base/open-flags.ts';
import { inParent, leadsNowhere, statAt } from './descriptors.ts';

/** Gives `target` to whoever owns what stands at `path` below `root`, else the directory nearest above. It matters for root alone. */
export function ownLike(root: number, path: string, target: Buffer): void {
  if (process.getuid?.() !== 0) return;
  for (let at = path; ; at = at.slice(0, Math.max(at.lastIndexOf('/'), 0))) {
    const stat = standing(root, at);
    if (stat === undefined) continue;
    return lchownSync(target, Number(stat.uid), Number(stat.gid));
  }
}

/** By a descriptor of the thing itself, because chmod(2) follows a link that takes its place. */
export function changeMode(target: Buffer, mode: number): void {
  const fd = openSync(target, O_PATH | constants.O_NOFOLLOW);
  try {
    chmodSync(`/proc/self/fd/${fd}`, mode);
  } finally {
    closeSync(fd);
  }
}

function standing(root: number, path: string): BigIntStats | undefined {
  if (path === '') return statAt(root, '.');
  try {
    return inParent(root, path, statAt);
  } catch (error) {
    if (leadsNowhere(error)) return undefined;
    throw error;
  }
}
