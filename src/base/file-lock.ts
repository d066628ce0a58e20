import { link, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { GloveboxError, systemCode } from './errors.ts';
import { processIdentity } from './process-identity.ts';

const PAUSE_MS = 50;
/** Between making the file and writing its holder into it; after that, whoever made it died in between. */
const UNSIGNED_MS = 5_000;

export interface FileLockOptions {
  /** How long to wait for another process, in milliseconds. */
  readonly waitMs: number;
  /** What the other one is doing, for the message: "another process is …". */
  readonly busy: string;
}

/**
 * Runs `work` while this process alone holds the lock file. A lock whose holder died (proven by pid and start time) is taken over.
 *
 * @throws E_IO when the other process takes longer than `waitMs`
 */
export async function withFileLock<T>(
  file: string,
  options: FileLockOptions,
  work: () => Promise<T>,
): Promise<T> {
  const deadline = Date.now() + options.waitMs;
  while (!(await tryLock(file))) {
    if (Date.now() > deadline)
      throw new GloveboxError('E_IO', { what: `another process is ${options.busy}`, why: file });
    await dropStale(file);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  try {
    return await work();
  } finally {
    await unlink(file).catch(() => undefined);
  }
}

async function tryLock(file: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.writeFile(`${process.pid} ${processIdentity(process.pid)?.startTicks ?? ''}`);
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw new GloveboxError('E_IO', { what: `cannot write ${file}`, why: systemCode(error) ?? 'unknown' });
  }
}

async function dropStale(file: string): Promise<void> {
  const holder = await readFile(file, 'utf8').catch(() => undefined);
  if (holder === undefined || !(await isStale(file, holder))) return;
  const aside = `${file}.${process.pid}`;
  try {
    await rename(file, aside);
    // Somebody else was quicker, and this is their new lock: it goes back.
    if ((await readFile(aside, 'utf8')) !== holder) await link(aside, file).catch(() => undefined);
    await unlink(aside);
  } catch {
    // Gone already; the next round sees what is there.
  }
}

async function isStale(file: string, holder: string): Promise<boolean> {
  const [pid, startTicks] = holder.split(' ');
  if (pid !== undefined && startTicks !== undefined)
    return processIdentity(Number(pid))?.startTicks !== startTicks;
  const made = await stat(file).catch(() => undefined);
  return made !== undefined && Date.now() - made.mtimeMs > UNSIGNED_MS;
}
