import type { Check, Span } from './check.ts';
import { ALLOW, KILL, refuse } from './check.ts';
import type { SyscallName } from './numbers.ts';
import { SYSCALL_NUMBERS } from './numbers.ts';
import type { Condition, Row } from './row.ts';
import type { SeccompOptions } from './rules.ts';
import { IO_CALLS, MOUNT_CALLS, PATH_CALLS } from './table-files.ts';
import { PLACE_CALLS } from './table-places.ts';
import { GONE_CALLS, IPC_CALLS, MEMORY_CALLS, SOCKET_CALLS, TIME_CALLS } from './table-memory.ts';
import { ADMIN_CALLS, IDENTITY_CALLS, PROCESS_CALLS, RESOURCE_CALLS } from './table-process.ts';

/** Every group of the table, in the order of the reference page. */
export const SYSCALL_GROUPS: readonly {
  readonly title: string;
  readonly rows: Partial<Record<SyscallName, Row>>;
}[] = [
  { title: 'Descriptors and events', rows: IO_CALLS },
  { title: 'Paths and metadata', rows: PATH_CALLS },
  { title: 'Mounts and the root directory', rows: MOUNT_CALLS },
  { title: 'Processes, threads, signals', rows: PROCESS_CALLS },
  { title: 'Identity', rows: IDENTITY_CALLS },
  { title: 'Scheduling and resources', rows: RESOURCE_CALLS },
  { title: 'Memory', rows: MEMORY_CALLS },
  { title: 'Clocks, timers, locks, randomness', rows: TIME_CALLS },
  { title: 'Sockets', rows: SOCKET_CALLS },
  { title: 'Interprocess communication', rows: IPC_CALLS },
  { title: 'Administration of the machine', rows: ADMIN_CALLS },
  { title: 'Reserved or gone', rows: GONE_CALLS },
];

/** A row for every number that Linux 6.18 has; a missing one does not compile. */
export const SYSCALL_TABLE: Readonly<Record<SyscallName, Row>> = {
  ...IO_CALLS,
  ...PATH_CALLS,
  ...MOUNT_CALLS,
  ...PROCESS_CALLS,
  ...IDENTITY_CALLS,
  ...RESOURCE_CALLS,
  ...MEMORY_CALLS,
  ...TIME_CALLS,
  ...SOCKET_CALLS,
  ...IPC_CALLS,
  ...ADMIN_CALLS,
  ...GONE_CALLS,
};

/** AUDIT_ARCH_* of linux/audit.h. */
export const AUDIT_ARCH = { x64: 0xc000_003e, arm64: 0xc000_00b7 } as const;

/** __X32_SYSCALL_BIT of asm/unistd.h: the x32 ABI has other argument layouts for the same numbers. */
const X32 = 0x4000_0000;
/** A tracer cancels a call by setting the number to -1 (ptrace(2)). */
const CANCELLED = 0xffff_ffff;

/** Frequent calls: compared first on kernels before 5.11, which run the filter for every call. */
const HOT: ReadonlySet<SyscallName> = new Set([
  'read',
  'write',
  'openat',
  'close',
  'newfstatat',
  'fstat',
  'mmap',
  'munmap',
  'mprotect',
  'futex',
  'ioctl',
  'epoll_wait',
  'epoll_pwait',
  'poll',
  'lseek',
  'rt_sigaction',
  'rt_sigprocmask',
  'madvise',
  'clock_gettime',
  'recvfrom',
  'sendto',
  'recvmsg',
  'sendmsg',
  'readv',
  'writev',
  'pread64',
  'statx',
  'socket',
]);
const HOT_WEIGHT = 20;

/** The whole filter as a decision tree. */
export function seccompTree(options: SeccompOptions): Check {
  const spans: Span[] = syscallChecks(options).map(([name, check]) => {
    const nr = callNumber(name, options);
    return { from: nr, to: nr, check, weight: HOT.has(name) ? HOT_WEIGHT : 1 };
  });
  if (options.arch === 'x64') spans.push({ from: X32, to: CANCELLED - 1, check: KILL });
  const calls: Check = { kind: 'switch', word: { of: 'nr' }, spans, otherwise: refuse('ENOSYS') };
  const arch = AUDIT_ARCH[options.arch];
  return {
    kind: 'switch',
    word: { of: 'arch' },
    spans: [{ from: arch, to: arch, check: calls }],
    otherwise: KILL,
  };
}

/** What is checked of each call that the architecture has. */
export function syscallChecks(options: SeccompOptions): readonly (readonly [SyscallName, Check])[] {
  const special = options.place === undefined ? {} : PLACE_CALLS[options.place];
  return syscallRows()
    .filter(([name]) => callNumber(name, options) >= 0)
    .map(([name, common]) => [name, rowCheck(special[name] ?? common, options)] as const);
}

function callNumber(name: SyscallName, { arch }: SeccompOptions): number {
  return SYSCALL_NUMBERS[name][arch === 'x64' ? 0 : 1];
}

/** Name and row of every call of a group, or of the whole table. */
export function syscallRows(
  rows: Partial<Record<SyscallName, Row>> = SYSCALL_TABLE,
): readonly (readonly [SyscallName, Row])[] {
  const all: (readonly [SyscallName, Row])[] = [];
  for (const [name, row] of Object.entries(rows)) if (isSyscallName(name)) all.push([name, row]);
  return all;
}

function isSyscallName(name: string): name is SyscallName {
  return Object.hasOwn(SYSCALL_NUMBERS, name);
}

function rowCheck(row: Row, options: SeccompOptions): Check {
  if (!holds(row.when, options)) return refuse(row.errno);
  return row.rule?.check(options) ?? ALLOW;
}

function holds(condition: Condition, options: SeccompOptions): boolean {
  const held: Record<Condition, boolean> = {
    always: true,
    never: false,
    relaxed: options.profile !== 'strict',
    debug: options.profile === 'debug',
    nesting: options.nesting,
  };
  return held[condition];
}
