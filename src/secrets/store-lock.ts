import { withFileLock } from '../base/file-lock.ts';

/** One change takes about a second (scrypt); a few may wait for each other. */
const WAIT_MS = 10_000;

/** Runs `work` while this process alone holds the lock file. A lock whose holder died is taken over. */
export function withStoreLock<T>(file: string, work: () => Promise<T>): Promise<T> {
  return withFileLock(file, { waitMs: WAIT_MS, busy: 'changing the secret store' }, work);
}
