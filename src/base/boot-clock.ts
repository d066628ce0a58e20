import { readFileSync } from 'node:fs';

/**
 * A moment that outlives a process and cannot be moved by setting the clock: milliseconds since the machine booted (it counts
 * while suspended, clock_gettime(2) CLOCK_BOOTTIME, proc_uptime(5)), and which boot that was (random(4), boot_id).
 */
export interface BootMoment {
  readonly boot: string;
  readonly ms: number;
}

export function bootMoment(aheadMs = 0): BootMoment {
  const uptime = Number(readText('/proc/uptime').split(' ', 1)[0]);
  return {
    boot: readText('/proc/sys/kernel/random/boot_id').trim(),
    ms: Math.round((Number.isFinite(uptime) ? uptime : 0) * 1000) + aheadMs,
  };
}

/** Milliseconds from now; negative when it is past. A moment of an earlier boot is infinitely past. */
export function msUntil(moment: BootMoment): number {
  const now = bootMoment();
  return moment.boot === now.boot ? moment.ms - now.ms : Number.NEGATIVE_INFINITY;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
