import { readFileSync } from 'node:fs';

/** A process that cannot be confused with a later one of the same number: pid and start time (proc_pid_stat(5), field 22). */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot. */
  readonly startTicks: string;
}

/** The identity of a live process, or undefined when there is none. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The command's name may hold spaces and parentheses: fields are counted from the last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const startTicks = fields[19];
    return startTicks === undefined ? undefined : { pid, startTicks };
  } catch {
    return undefined;
  }
}

/** True while exactly this process lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  return processIdentity(identity.pid)?.startTicks === identity.startTicks;
}
