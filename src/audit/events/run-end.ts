import { optional, word, type EventSpec } from './spec.ts';

export interface RunEnd {
  readonly cause: string;
  readonly status?: number;
  readonly durationMs: number;
  readonly network: {
    readonly connections: number;
    readonly upBytes: number;
    readonly downBytes: number;
    readonly denied: number;
  };
  /** What the sandbox had on the machine, looked for afterwards: how much of it is gone, and what is not. */
  readonly gone: number;
  readonly left: readonly { readonly kind: string; readonly name: string }[];
  readonly usage: { readonly peakMemoryBytes?: number; readonly cpuMs?: number; readonly peakPids?: number };
}

export const runEnd: EventSpec<RunEnd> = {
  kind: 'run.end',
  doc: 'A sandbox ended and nothing of it is left.',
  fields: {
    cause: 'exit, signal, timeout, ttl, idle, limit, killed, lost, guard-lost or refused',
    status: 'exit code as a shell says it, when a command ended',
    durationMs: 'wall clock, milliseconds',
    gone: 'processes, groups, sockets, directories and entries of it that are gone',
    left: 'those that are not, each with its kind and name',
    network: 'connections, bytes up and down, denied attempts',
    usage: 'peak memory in bytes, CPU in milliseconds, peak number of processes, where known',
  },
  say: (data) =>
    `${word(data, 'cause')}${optional(data, 'status', ' ')} after ${word(data, 'durationMs')} ms`,
};
