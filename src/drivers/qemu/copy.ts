import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  createWriteStream,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statfsSync,
} from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GloveboxError } from '../../base/errors.ts';
import { MEMORY_FILE } from './args.ts';
import { acceptOne, type Control } from './control.ts';
import { PLACES, STATE_SOCKET } from './layout.ts';
import { migrateTo } from './migrate.ts';
import { memoryEnd } from './template.ts';

/** A machine that stands still, and that a copy is made of. Its memory is a file in the jail of QEMU. */
export interface CopySource {
  readonly agent: string;
  /** Outermost process of QEMU's jail. */
  readonly pid: number | undefined;
  /** Directory of the host for its sockets. */
  readonly sockets: string;
  readonly memoryBytes: number;
  readonly control: Pick<Control, 'client'>;
}

/** Devices have some hundred kilobytes to say, and a file server a path for each file that the guest knows of. */
const STATE_BYTES = 256 * 1024 ** 2;

/**
 * Writes a machine that stands still to `file`, in the form of a template: its memory, then what QEMU and its devices know. What of the
 * memory was never written to takes no room.
 *
 * @throws E_SANDBOX_START, E_IO when the file cannot be written
 */
export async function writeCopy(source: CopySource, file: string): Promise<void> {
  const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    ftruncateSync(fd, memoryEnd(source));
    await writeMemory(source, { fd, file });
    await writeState(source, file);
  } finally {
    closeSync(fd);
  }
}

/** QEMU opens no file of ours; it connects to a socket of its machine. */
async function writeState(source: CopySource, file: string): Promise<void> {
  const { sockets, control } = source;
  const client = await control.client;
  const listening = await acceptOne(sockets, STATE_SOCKET);
  try {
    const written = listening.socket.then((socket) =>
      pipeline(
        socket,
        atMost(STATE_BYTES),
        createWriteStream(file, { flags: 'r+', start: memoryEnd(source) }),
      ),
    );
    written.catch(() => undefined);
    const broken = written.then(() => new Promise<never>(() => undefined));
    await Promise.race([migrateTo(client, `unix:${PLACES.sockets}/${STATE_SOCKET}`), broken]);
    await written;
  } catch (error) {
    throw noRoom(error);
  } finally {
    listening.close();
  }
}

/** QEMU works on what a guest does: it does not fill the host's disk. */
function atMost(bytes: number): Transform {
  let left = bytes;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      left -= chunk.length;
      if (left < 0) done(failed(`QEMU has more than ${bytes} bytes to say of a machine`));
      else done(null, chunk);
    },
  });
}

interface Target {
  readonly fd: number;
  readonly file: string;
}

/** stat(2): `blocks` counts these, whatever the file system's are. */
const BLOCK_BYTES = 512;

/** Of the file system that a copy lies in, so much stays free: the user's session has its own sockets and locks there. */
const KEPT_FREE = 1 / 20;

/** @throws E_IO */
function requireRoom(memory: number, file: string): void {
  const bytes = fstatSync(memory).blocks * BLOCK_BYTES;
  const { bavail, blocks, bsize } = statfsSync(file);
  const room = (bavail - blocks * KEPT_FREE) * bsize;
  if (bytes > room) throw full(`it takes ${mebibytes(bytes)} MiB, and there are ${mebibytes(room)}`);
}

const mebibytes = (bytes: number): number => Math.max(0, Math.round(bytes / 1024 ** 2));

/** By our agent, which skips the holes. */
async function writeMemory({ agent, pid, memoryBytes }: CopySource, to: Target): Promise<void> {
  const from = openMemory(pid, memoryEnd({ memoryBytes }));
  try {
    requireRoom(from, to.file);
    const child = spawn(agent, ['keep'], { stdio: ['ignore', 'ignore', 'pipe', from, to.fd] });
    let said = '';
    child.stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(0, 1000)));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (code !== 0) throw noRoom(new Error(said.trim() || `the copy ended with ${code}`));
  } finally {
    closeSync(from);
  }
}

/**
 * The jail's own file system, seen through one of its processes. QEMU may put there what it likes, so what is opened is the file itself, and no
 * link that would lead out of the jail.
 */
function openMemory(pid: number | undefined, bytes: number): number {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  for (const inside of pid === undefined ? [] : below(pid)) {
    const file = `/proc/${inside}/root${PLACES.memory}/${MEMORY_FILE}`;
    try {
      const fd = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      const stat = fstatSync(fd);
      if (stat.isFile() && stat.size >= bytes) return fd;
      closeSync(fd);
    } catch {
      // The outermost process is not in the jail itself.
    }
  }
  throw failed('its memory is not found in its jail');
}

function below(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    const children = text.split(' ').flatMap((word) => (/^\d+$/.test(word) ? [Number(word)] : []));
    return children.flatMap((child) => [child, ...below(child)]);
  } catch {
    return [];
  }
}

function noRoom(error: unknown): unknown {
  const why = error instanceof Error ? error.message : String(error);
  if (!/ENOSPC|EDQUOT|No space left|quota/i.test(why)) return error;
  return full(why);
}

const full = (why: string): GloveboxError =>
  new GloveboxError('E_IO', {
    what: 'there is no room for a copy of the machine',
    why,
    next: 'Free space in the runtime directory ($XDG_RUNTIME_DIR): a copy has the size of the memory that the machine uses.',
  });

function failed(why: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what: 'cannot make a copy of a machine', why });
}
