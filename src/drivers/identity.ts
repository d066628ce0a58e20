import { lstatSync } from 'node:fs';
import type { VerifyIdentity } from '../agent/contract.ts';
import { GloveboxError } from '../base/errors.ts';
import { fsPath, pathToBytes, printablePath } from '../base/path-bytes.ts';
import type { Plan } from './contract.ts';
import { realPath } from './facts.ts';

/**
 * Which directory each writable tree is at this moment. bubblewrap looks the path up again later, and whoever may write to
 * its parent could put a symlink there in between; the agent compares before anything runs.
 *
 * @throws E_MASK_LOST when a path leads elsewhere already
 */
export function treeIdentities(plan: Plan): readonly VerifyIdentity[] {
  return plan.view.flatMap((mount) => {
    if (mount.kind !== 'bind' || !mount.writable) return [];
    return [identityOf(mount.source, mount.target)];
  });
}

/**
 * Which thing a path of the host is at this moment, to be found at `target` inside.
 *
 * @throws E_MASK_LOST when the path leads elsewhere
 */
export function identityOf(source: string, target: string): VerifyIdentity {
  const stat = lstatSync(fsPath(source), { bigint: true, throwIfNoEntry: false });
  if (stat === undefined || realPath(source) !== source) throw moved(source);
  const { major, minor } = deviceNumbers(stat.dev);
  return { path: pathToBytes(target), ino: stat.ino, major, minor };
}

/** The two halves of a device number as glibc packs them (makedev(3)). */
function deviceNumbers(dev: bigint): { readonly major: number; readonly minor: number } {
  return {
    major: Number(((dev >> 8n) & 0xfffn) | ((dev >> 32n) & 0xfffff000n)),
    minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xffffff00n)),
  };
}

function moved(path: string): GloveboxError {
  return new GloveboxError('E_MASK_LOST', {
    what: `${printablePath(path)} is not where it was a moment ago`,
  });
}
