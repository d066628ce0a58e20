import { link, open, readFile, rename, stat, unlink } from 'node:fs/promises';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { processIdentity } from '../base/process-identity.ts';

/** One change takes about a second (scrypt); a few may wait for each other. */
const WAIT_MS = 10_000;
const PAUSE_MS = 50;

/** Runs `work` while this process alone holds the lock file. A lock whose holder died is taken over. */
export async function withStoreLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  while (!(await tryLock(file))) {
    if (Date.now() > deadline)
      throw new GloveboxError('E_IO', { what: 'another process is changing the secret store', why: file });
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
    const self = processIdentity(process.pid);
    await handle.writeFile(`${process.pid} ${self?.startTicks ?? ''}`);
    await handle.close();
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw new GloveboxError('E_IO', {
      what: `cannot write ${file}`,
      why: systemCode(error) ?? 'unknown reason',
    });
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
  // Empty: its maker is about to write, or died before.
  const made = await stat(file).catch(() => undefined);
  return made !== undefined && Date.now() - made.mtimeMs > WAIT_MS / 2;
}
