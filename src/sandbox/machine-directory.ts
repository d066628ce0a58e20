import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ensurePrivateDir, type GloveboxDirs } from '../base/paths.ts';
import { isAlive, processIdentity } from '../base/process-identity.ts';

/**
 * The directory of one machine's sockets. Its name says whose it is; those of dead launchers beside it are removed: their machines and
 * file servers died with them.
 */
export function machineDirectory(dirs: Pick<GloveboxDirs, 'runtime'>, id: string): string {
  const parent = ensurePrivateDir(path.join(dirs.runtime, 'machines'));
  sweep(parent);
  const { pid, startTicks } = processIdentity(process.pid) ?? { pid: process.pid, startTicks: '0' };
  return ensurePrivateDir(path.join(parent, `${id}.${pid}-${startTicks}`));
}

const OWNER = /\.(\d+)-(\d+)$/;

function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    const [, pid, startTicks] = OWNER.exec(name) ?? [];
    if (pid === undefined || startTicks === undefined || isAlive({ pid: Number(pid), startTicks })) continue;
    // Another start may be about to remove it too.
    rmSync(path.join(parent, name), { recursive: true, force: true });
  }
}
