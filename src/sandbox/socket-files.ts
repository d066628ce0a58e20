import { readdirSync, unlinkSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../base/paths.ts';
import { isAlive, processIdentity } from '../base/process-identity.ts';

/**
 * Where one sandbox's socket of a kind stands on the host; what dead launchers left beside it is removed. The name says whose it is,
 * so that nobody has to ask a socket that serves.
 */
export async function socketPath(
  dirs: GloveboxDirs,
  kind: 'agents' | 'relays' | 'sandboxes',
  id: string,
): Promise<string> {
  const dir = ensurePrivateDir(path.join(dirs.runtime, kind));
  await sweep(dir);
  const owner = processIdentity(process.pid);
  // Short: the whole path has to fit into sun_path.
  const whose = [owner?.pid ?? 0, owner?.startTicks ?? 0]
    .map((value) => Number(value).toString(36))
    .join('-');
  const file = path.join(dir, `${id.replace(/^sbx_/, '')}.${whose}.sock`);
  if (Buffer.byteLength(file) <= SOCKET_PATH_BYTES) return file;
  throw new GloveboxError('E_IO', {
    what: `${dir} is too long for a socket`,
    why: `its name may have ${SOCKET_PATH_BYTES} bytes in all (unix(7), sun_path)`,
    next: 'Set XDG_RUNTIME_DIR to a shorter directory of your own.',
  });
}

/** One less than sun_path, which ends with a NUL. */
const SOCKET_PATH_BYTES = 107;

const OWNER = /\.([0-9a-z]+)-([0-9a-z]+)\.sock$/;

/** Removes the sockets of launchers that were killed. */
async function sweep(dir: string): Promise<void> {
  const living = new Map<string, boolean>();
  for (const name of readdirSync(dir)) {
    const [owner = '', pid, startTicks] = OWNER.exec(name) ?? [];
    if (pid !== undefined && startTicks !== undefined && !living.has(owner))
      living.set(owner, isAlive({ pid: parseInt(pid, 36), startTicks: String(parseInt(startTicks, 36)) }));
    const file = path.join(dir, name);
    // The process table may be that of another container with the same directory, so the last word is the socket's.
    if (living.get(owner) !== true && (await isAbandoned(file))) unlinkQuietly(file);
  }
}

function isAbandoned(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(file);
    // Refused: nobody listens. Anything else, such as a full queue, is no proof of that.
    socket.once('error', (error) => resolve(systemCode(error) === 'ECONNREFUSED'));
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
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
