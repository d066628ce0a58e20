import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_INSTRUCTIONS } from './assemble.ts';
import type { Action, CallData } from './check.ts';
import { decide, ERRNO } from './check.ts';
import { compileSeccomp } from './compile.ts';
import { interpret } from './interpreter.fixture.ts';
import type { SyscallName } from './numbers.ts';
import { SYSCALL_NUMBERS } from './numbers.ts';
import type { SeccompOptions } from './rules.ts';
import { AUDIT_ARCH, seccompTree } from './table.ts';

const ALL: readonly SeccompOptions[] = (['x64', 'arm64'] as const).flatMap((arch) =>
  (['default', 'strict', 'debug'] as const).flatMap((profile) =>
    [false, true].map((nesting) => ({ arch, profile, nesting })),
  ),
);
const title = (options: SeccompOptions): string =>
  `${options.arch} ${options.profile}${options.nesting ? ' nesting' : ''}`;

const ALLOWED = 0x7fff_0000;
const KILLED = 0x8000_0000;

function expected(action: Action): number {
  if (action.kind === 'allow') return ALLOWED;
  if (action.kind === 'kill') return KILLED;
  return 0x5_0000 | ERRNO[action.errno];
}

/** Values at which some rule changes its mind, next to arbitrary ones. */
const INTERESTING = [
  0,
  1,
  2,
  3,
  5,
  10,
  16,
  17,
  0x5412,
  0x541c,
  0x5413,
  0o100,
  0o4755,
  0o2755,
  0o755,
  0o100644,
  0o060644,
  0o020000,
  0x1000_0000,
  0x7e02_0000,
  0x3d0f00,
  0x4000,
  35,
  53,
  38,
  22,
  0xffff_ffff,
  0x4_0000,
  0x80000 | 1,
  0x80000 | 3,
].map(BigInt);
const argument = fc.oneof(
  fc.constantFrom(...INTERESTING),
  fc.constantFrom(...INTERESTING).map((value) => value | (1n << 32n)),
  fc.bigInt(0n, (1n << 64n) - 1n),
);
const args = fc.tuple(argument, argument, argument, argument, argument, argument);

describe.each(ALL.map((options) => [title(options), options] as const))('filter %s', (_, options) => {
  const program = compileSeccomp(options);
  const tree = seccompTree(options);
  const arch = AUDIT_ARCH[options.arch];
  const agree = (call: CallData): void => {
    expect(interpret(program, call).value, JSON.stringify({ ...call, args: call.args.map(String) })).toBe(
      expected(decide(tree, call)),
    );
  };

  test('fits into the kernel', () => {
    expect(program.length % 8).toBe(0);
    expect(program.length / 8).toBeLessThan(MAX_INSTRUCTIONS);
  });

  test('means what the table says for every number and its edges', () => {
    for (let nr = 0; nr < 1024; nr++) {
      for (const value of INTERESTING) agree({ arch, nr, args: [value, value, value, value, 0n, 0n] });
    }
  });

  test('means what the table says for arbitrary calls', () => {
    fc.assert(
      fc.property(fc.oneof(fc.nat(480), fc.integer()), args, (nr, values) => {
        agree({ arch, nr, args: values });
      }),
      { numRuns: 2000 },
    );
  });

  test('ends a process of another architecture', () => {
    const other = [0x4000_0003, 0x4000_0028, 0, AUDIT_ARCH[options.arch === 'x64' ? 'arm64' : 'x64']];
    for (const foreign of other) {
      for (let nr = 0; nr < 512; nr++) {
        expect(interpret(program, { arch: foreign, nr, args: [] }).value).toBe(KILLED);
      }
    }
  });

  test('refuses unknown numbers with ENOSYS', () => {
    for (const nr of [470, 471, 500, 1023, 0x3fff_ffff, 0xffff_ffff]) {
      expect(interpret(program, { arch, nr, args: [] }).value).toBe(0x5_0000 | ERRNO.ENOSYS);
    }
  });
});

/** What one call gets. */
function answer(
  options: Partial<SeccompOptions>,
  name: SyscallName,
  ...given: readonly (number | bigint)[]
): string {
  const full: SeccompOptions = { arch: 'x64', profile: 'default', nesting: false, ...options };
  const nr = SYSCALL_NUMBERS[name][full.arch === 'x64' ? 0 : 1];
  const call: CallData = { arch: AUDIT_ARCH[full.arch], nr, args: given.map(BigInt) };
  const { value } = interpret(compileSeccomp(full), call);
  if (value === ALLOWED) return 'allow';
  if (value === KILLED) return 'kill';
  return Object.entries(ERRNO).find(([, errno]) => (0x5_0000 | errno) === value)?.[0] ?? String(value);
}

describe('x32', () => {
  test('ends the process, also for a number that exists', () => {
    const program = compileSeccomp({ arch: 'x64', profile: 'debug', nesting: true });
    for (const nr of [0x4000_0000, 0x4000_0001, 0x4000_0208, 0x7fff_ffff, 0xc000_0000]) {
      expect(interpret(program, { arch: AUDIT_ARCH.x64, nr, args: [] }).value).toBe(KILLED);
    }
  });
});

describe.each(['x64', 'arm64'] as const)('argument rules on %s', (arch) => {
  test.each([
    ['unix stream', [1, 1, 0], 'allow', 'allow'],
    ['tcp', [2, 1, 0], 'allow', 'allow'],
    ['tcp, close-on-exec, explicit protocol', [2, 0x80801, 6], 'allow', 'allow'],
    ['udp over IPv6', [10, 2, 17], 'allow', 'allow'],
    ['raw', [2, 3, 1], 'EPERM', 'EPERM'],
    ['raw with flags', [10, 0x80003, 58], 'EPERM', 'EPERM'],
    ['SOCK_PACKET', [2, 10, 0], 'EPERM', 'EPERM'],
    ['sctp', [2, 1, 132], 'EPROTONOSUPPORT', 'EPROTONOSUPPORT'],
    ['mptcp', [2, 1, 262], 'EPROTONOSUPPORT', 'EPROTONOSUPPORT'],
    ['route netlink', [16, 3, 0], 'allow', 'EAFNOSUPPORT'],
    ['audit netlink', [16, 3, 9], 'EPROTONOSUPPORT', 'EAFNOSUPPORT'],
    ['packet', [17, 3, 0], 'EAFNOSUPPORT', 'EAFNOSUPPORT'],
    ['vsock', [40, 1, 0], 'EAFNOSUPPORT', 'EAFNOSUPPORT'],
    ['crypto', [38, 5, 0], 'EAFNOSUPPORT', 'EAFNOSUPPORT'],
    ['a high bit does not change the family', [(1n << 32n) | 17n, 3, 0], 'EAFNOSUPPORT', 'EAFNOSUPPORT'],
  ] as const)('socket: %s', (_, given, standard, strict) => {
    expect(answer({ arch }, 'socket', ...given)).toBe(standard);
    expect(answer({ arch, profile: 'strict' }, 'socket', ...given)).toBe(strict);
  });

  test.each([
    ['TCGETS', 0x5401, 'allow'],
    ['FIONREAD', 0x541b, 'allow'],
    ['TIOCSCTTY', 0x540e, 'allow'],
    ['TIOCSTI', 0x5412, 'EPERM'],
    ['TIOCSTI with a high bit', (1n << 40n) | 0x5412n, 'EPERM'],
    ['TIOCLINUX', 0x541c, 'EPERM'],
    ['TIOCLINUX with all high bits', (0xffff_ffffn << 32n) | 0x541cn, 'EPERM'],
    ['TIOCSETD', 0x5423, 'EPERM'],
    ['TIOCCONS', 0x541d, 'EPERM'],
  ] as const)('ioctl: %s', (_, command, want) => {
    expect(answer({ arch }, 'ioctl', 0, command)).toBe(want);
  });

  test('clone: threads and processes pass, namespaces only with nesting', () => {
    expect(answer({ arch }, 'clone', 0x3d0f00)).toBe('allow');
    expect(answer({ arch }, 'clone', 0x1200011)).toBe('allow');
    for (const bit of [17, 25, 26, 27, 28, 29, 30]) {
      expect(answer({ arch }, 'clone', 2 ** bit + 17)).toBe('EPERM');
      expect(answer({ arch, nesting: true }, 'clone', 2 ** bit + 17)).toBe('allow');
    }
    expect(answer({ arch, nesting: true }, 'clone3', 0, 88)).toBe('ENOSYS');
  });

  test('unshare: only what is shared between threads', () => {
    expect(answer({ arch }, 'unshare', 0x600)).toBe('allow');
    for (const flag of [0x80, 0x2_0000, 0x1000_0000, 0x4000_0000, 0x10_0000, 1n << 32n]) {
      expect(answer({ arch }, 'unshare', flag)).toBe('EPERM');
    }
    expect(answer({ arch, nesting: true }, 'unshare', 0x1000_0000)).toBe('allow');
  });

  test('set-user-ID and set-group-ID bits cannot be put on a file', () => {
    for (const bits of [0o4000, 0o2000, 0o6000]) {
      expect(answer({ arch }, 'fchmod', 3, 0o755 | bits)).toBe('EPERM');
      expect(answer({ arch }, 'fchmodat', 3, 0, 0o755 | bits)).toBe('EPERM');
      expect(answer({ arch }, 'fchmodat2', 3, 0, 0o755 | bits, 0)).toBe('EPERM');
      expect(answer({ arch }, 'mknodat', 3, 0, 0o100755 | bits)).toBe('EPERM');
      expect(answer({ arch }, 'openat', 3, 0, 0o102, 0o755 | bits)).toBe('EPERM');
      expect(answer({ arch }, 'openat', 3, 0, 0o20200002, 0o755 | bits)).toBe('EPERM');
    }
    expect(answer({ arch }, 'fchmodat', 3, 0, 0o1777)).toBe('allow');
    expect(answer({ arch }, 'openat', 3, 0, 0o102, 0o644)).toBe('allow');
    expect(answer({ arch }, 'openat', 3, 0, 0, 0xffff_ffff), 'the mode is garbage without O_CREAT').toBe(
      'allow',
    );
    expect(answer({ arch, nesting: true }, 'openat2', 3, 0, 0, 24)).toBe('ENOSYS');
    expect(answer({ arch }, 'openat2', 3, 0, 0, 24)).toBe('allow');
  });

  test('mknod makes no devices', () => {
    expect(answer({ arch }, 'mknodat', 3, 0, 0o010644)).toBe('allow');
    expect(answer({ arch }, 'mknodat', 3, 0, 0o140755)).toBe('allow');
    expect(answer({ arch }, 'mknodat', 3, 0, 0o644)).toBe('allow');
    expect(answer({ arch }, 'mknodat', 3, 0, 0o020644)).toBe('EPERM');
    expect(answer({ arch }, 'mknodat', 3, 0, 0o060644)).toBe('EPERM');
  });

  test('prctl and personality', () => {
    expect(answer({ arch }, 'prctl', 15)).toBe('allow');
    expect(answer({ arch }, 'prctl', 38, 1)).toBe('allow');
    expect(answer({ arch }, 'prctl', 35)).toBe('EPERM');
    expect(answer({ arch }, 'prctl', 53)).toBe('EPERM');
    expect(answer({ arch }, 'prctl', 67), 'memory merging is a side channel').toBe('EINVAL');
    expect(answer({ arch }, 'personality', 0xffff_ffff)).toBe('allow');
    expect(answer({ arch }, 'personality', 0x40_0000)).toBe('EPERM');
    expect(answer({ arch, profile: 'strict' }, 'personality', 0x4_0000)).toBe('EPERM');
  });
});

describe('profiles', () => {
  test('tracing is for debug alone', () => {
    for (const name of ['ptrace', 'process_vm_readv', 'process_vm_writev', 'kcmp', 'pidfd_getfd'] as const) {
      expect(answer({}, name), name).toBe('EPERM');
      expect(answer({ profile: 'strict' }, name), name).toBe('EPERM');
      expect(answer({ profile: 'debug' }, name), name).toBe('allow');
    }
  });

  test('nothing opens kernel doors in any profile', () => {
    const names = [
      'bpf',
      'perf_event_open',
      'userfaultfd',
      'io_uring_setup',
      'keyctl',
      'add_key',
      'request_key',
    ] as const;
    const more = [
      'init_module',
      'finit_module',
      'kexec_load',
      'open_by_handle_at',
      'syslog',
      'swapon',
    ] as const;
    for (const name of [...names, ...more]) {
      for (const options of ALL) expect(answer(options, name), `${title(options)} ${name}`).toBe('EPERM');
    }
  });

  test('mounts and namespaces are for nesting alone', () => {
    for (const name of ['mount', 'pivot_root', 'setns', 'chroot', 'move_mount', 'fsopen'] as const) {
      expect(answer({ profile: 'debug' }, name), name).toBe('EPERM');
      expect(answer({ nesting: true }, name), name).toBe('allow');
    }
  });
});

describe('cost', () => {
  test('calls that every program makes all the time are found in a dozen comparisons', () => {
    for (const arch of ['x64', 'arm64'] as const) {
      const program = compileSeccomp({ arch, profile: 'default', nesting: false });
      for (const name of ['read', 'write', 'close', 'mmap', 'futex', 'clock_gettime'] as const) {
        const call = { arch: AUDIT_ARCH[arch], nr: SYSCALL_NUMBERS[name][arch === 'x64' ? 0 : 1], args: [] };
        expect(interpret(program, call).steps, `${arch} ${name}`).toBeLessThanOrEqual(14);
      }
    }
  });
});
