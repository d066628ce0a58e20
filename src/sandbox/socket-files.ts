import { readdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { systemCode } from '../base/errors.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../base/paths.ts';

/** Where one sandbox's socket of a kind stands on the host; what dead launchers left beside it is removed. */
export async function socketPath(
  dirs: GloveboxDirs,
  kind: 'agents' | 'relays' | 'sandboxes',
  id: string,
): Promise<string> {
  const dir = ensurePrivateDir(path.join(dirs.runtime, kind));
  await sweep(dir);
  return path.join(dir, `${id}.sock`);
}

/** A launcher that was killed leaves its socket: nobody answers on it any more. */
async function sweep(dir: string): Promise<void> {
  for (const name of readdirSync(dir)) {
    const file = path.join(dir, name);
    if (!(await isAlive(file))) unlinkQuietly(file);
  }
}

function isAlive(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(file);
    // Refused: nobody listens. Anything else, such as a full queue, is no proof of that.
    socket.once('connect', () => resolve(true));
    socket.once('error', (error) => resolve(systemCode(error) !== 'ECONNREFUSED'));
    socket.once('connect', () => socket.destroy());
  });
}

/** Another start may have swept it at the same moment. */
function unlinkQuietly(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    return;
  }
}
