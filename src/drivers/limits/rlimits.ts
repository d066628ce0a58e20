import { readFileSync } from 'node:fs';

/** Numbers of asm-generic/resource.h. */
export const RLIMIT = {
  FSIZE: 1,
  DATA: 2,
  CORE: 4,
  NPROC: 6,
  NOFILE: 7,
  MEMLOCK: 8,
  NICE: 13,
  RTPRIO: 14,
} as const;

/** RLIM_INFINITY. */
export const UNLIMITED = 2n ** 64n - 1n;

/** Arguments of prlimit(2). */
export interface ResourceLimit {
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

const NAMES: Readonly<Record<string, number>> = {
  'Max file size': RLIMIT.FSIZE,
  'Max data size': RLIMIT.DATA,
  'Max core file size': RLIMIT.CORE,
  'Max processes': RLIMIT.NPROC,
  'Max open files': RLIMIT.NOFILE,
  'Max locked memory': RLIMIT.MEMLOCK,
  'Max nice priority': RLIMIT.NICE,
  'Max realtime priority': RLIMIT.RTPRIO,
};

/** The hard limits of this process by resource number (proc_pid_limits(5)); raising one needs CAP_SYS_RESOURCE, which root may lack. */
export function readHardLimits(file = '/proc/self/limits'): ReadonlyMap<number, bigint> {
  const limits = new Map<number, bigint>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const match = /^(.+?)\s{2,}(\S+)\s+(\S+)/.exec(line);
    const resource = NAMES[match?.[1] ?? ''];
    const hard = match?.[3];
    if (resource === undefined || hard === undefined) continue;
    limits.set(resource, hard === 'unlimited' ? UNLIMITED : BigInt(hard));
  }
  return limits;
}
