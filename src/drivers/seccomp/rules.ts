import type { Action, Check } from './check.ts';
import { ALLOW, high, low, refuse, values } from './check.ts';

/** What the filter is made for; from the Plan. */
export interface SeccompOptions {
  readonly arch: 'x64' | 'arm64';
  readonly profile: 'default' | 'strict' | 'debug';
  /** Namespaces and mounts inside: Chromium's own sandbox, rootless containers. */
  readonly nesting: boolean;
  /** Absent: around commands on the host's kernel. `runtime`: around gVisor's runtime. `guest`: inside it, around commands. `recipe`: around a step that makes an image. */
  readonly place?: 'runtime' | 'guest' | 'recipe';
}

/** The jail around gVisor's runtime: it makes namespaces and mounts, and nothing else that a command may not. */
export const RUNTIME_OPTIONS = { profile: 'default', nesting: true, place: 'runtime' } as const;

/** A rule about arguments. `text` goes to the reference page. */
export interface ArgumentRule {
  readonly text: string;
  readonly check: (options: SeccompOptions) => Check;
}

type Index = 0 | 1 | 2 | 3 | 4 | 5;

const EPERM = refuse('EPERM');

// sys/socket.h, the same on both architectures.
const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 };
const SOCK = { STREAM: 1, DGRAM: 2 };
/** SOCK_TYPE_MASK of linux/net.h: the rest of the word is SOCK_CLOEXEC and SOCK_NONBLOCK. */
const SOCK_TYPE_MASK = 0xf;
const IPPROTO = { DEFAULT: 0, TCP: 6, UDP: 17 };
const NETLINK_ROUTE = 0;

const INTERNET: Check = {
  kind: 'switch',
  word: low(1),
  mask: SOCK_TYPE_MASK,
  spans: values([SOCK.STREAM, SOCK.DGRAM], {
    kind: 'switch',
    word: low(2),
    spans: values(Object.values(IPPROTO), ALLOW),
    otherwise: refuse('EPROTONOSUPPORT'),
  }),
  otherwise: EPERM,
};

/** socket(2): the families that programs need and the airlock watches; each other one is kernel code for an attacker to try. */
export const SOCKET: ArgumentRule = {
  text:
    'AF_UNIX; AF_INET and AF_INET6 with SOCK_STREAM or SOCK_DGRAM over TCP or UDP (raw and packet sockets get EPERM, other protocols EPROTONOSUPPORT); ' +
    'AF_NETLINK only for NETLINK_ROUTE, not in `strict`. Every other family gets EAFNOSUPPORT, as from a kernel without it.',
  check: ({ profile }) => ({
    kind: 'switch',
    word: low(0),
    spans: [
      ...values([AF.UNIX], ALLOW),
      ...values([AF.INET, AF.INET6], INTERNET),
      ...(profile === 'strict' ? [] : values([AF.NETLINK], ROUTE_NETLINK)),
    ],
    otherwise: refuse('EAFNOSUPPORT'),
  }),
};

const ROUTE_NETLINK: Check = {
  kind: 'switch',
  word: low(2),
  spans: values([NETLINK_ROUTE], ALLOW),
  otherwise: refuse('EPROTONOSUPPORT'),
};

export const SOCKETPAIR: ArgumentRule = {
  text: 'AF_UNIX only.',
  check: () => ({
    kind: 'switch',
    word: low(0),
    spans: values([AF.UNIX], ALLOW),
    otherwise: refuse('EAFNOSUPPORT'),
  }),
};

// asm-generic/ioctls.h. The kernel takes the command as unsigned int: a comparison of all 64 bits is bypassed by setting a high bit.
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const TIOCCONS = 0x541d;
const TIOCSETD = 0x5423;

export const IOCTL: ArgumentRule = {
  text:
    'TIOCSTI and TIOCLINUX (type into the terminal that the sandbox shares with its user), TIOCCONS (takes over console output) and ' +
    'TIOCSETD (loads line disciplines, a row of kernel holes) get EPERM.',
  check: () => ({
    kind: 'switch',
    word: low(1),
    spans: values([TIOCSTI, TIOCLINUX, TIOCCONS, TIOCSETD], EPERM),
    otherwise: ALLOW,
  }),
};

/** MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED of linux/membarrier.h. */
const REGISTER_PRIVATE_EXPEDITED = 16;

/**
 * runsc registers each time it starts itself, five times a guest, and each waits for all CPUs (synchronize_rcu in
 * kernel/sched/membarrier.c). Of its platforms only kvm uses it, and does without; the guest's own barriers are the global kind.
 */
export const MEMBARRIER: ArgumentRule = {
  text: 'Everything but the registration for private expedited barriers, which gets EPERM.',
  check: () => ({
    kind: 'switch',
    word: low(0),
    spans: values([REGISTER_PRIVATE_EXPEDITED], EPERM),
    otherwise: ALLOW,
  }),
};

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET of linux/sched.h. NEWTIME lies in the exit-signal byte, clone(2) cannot ask for it. */
const CLONE_NAMESPACES = 0x7e02_0000;

export const CLONE: ArgumentRule = {
  text: 'Threads and processes; a new namespace gets EPERM unless nesting is on.',
  check: ({ nesting }) =>
    nesting ? ALLOW : { kind: 'bits', word: low(0), mask: CLONE_NAMESPACES, some: EPERM, none: ALLOW },
};

/** Everything but CLONE_FS, CLONE_FILES and CLONE_SYSVSEM, which only stop sharing with one's own threads. */
const UNSHARE_REFUSED = ~(0x200 | 0x400 | 0x4_0000) >>> 0;

export const UNSHARE: ArgumentRule = {
  text: 'CLONE_FS, CLONE_FILES and CLONE_SYSVSEM; a new namespace gets EPERM unless nesting is on.',
  check: ({ nesting }) => {
    if (nesting) return ALLOW;
    // The flag word is an unsigned long: bits that later kernels define above 32 are refused as well.
    const lowHalf: Check = { kind: 'bits', word: low(0), mask: UNSHARE_REFUSED, some: EPERM, none: ALLOW };
    return { kind: 'bits', word: high(0), mask: 0xffff_ffff, some: EPERM, none: lowHalf };
  },
};

export const PRLIMIT: ArgumentRule = {
  text: 'The caller itself (pid 0) only: another process, pid 1 among them, gets EPERM.',
  check: () => ({ kind: 'switch', word: low(0), spans: values([0], ALLOW), otherwise: EPERM }),
};

const PER_LINUX = 0;
const ADDR_NO_RANDOMIZE = 0x4_0000;
const QUERY = 0xffff_ffff;

export const PERSONALITY: ArgumentRule = {
  text: 'PER_LINUX and the query 0xffffffff; ADDR_NO_RANDOMIZE (debuggers, ThreadSanitizer) not in `strict`. READ_IMPLIES_EXEC and foreign systems get EPERM.',
  check: ({ profile }) => ({
    kind: 'switch',
    word: low(0),
    spans: values([PER_LINUX, QUERY, ...(profile === 'strict' ? [] : [ADDR_NO_RANDOMIZE])], ALLOW),
    otherwise: EPERM,
  }),
};

/** linux/prctl.h: options that only read, tighten, or concern the caller alone. */
const PRCTL_ALLOWED: readonly (readonly [from: number, to: number])[] = [
  [1, 4], // PDEATHSIG, DUMPABLE
  [7, 8], // KEEPCAPS
  [13, 16], // TIMING, NAME
  [21, 30], // SECCOMP, CAPBSET, TSC, SECUREBITS, TIMERSLACK
  [36, 42], // CHILD_SUBREAPER, NO_NEW_PRIVS, GET_TID_ADDRESS, THP_DISABLE
  [47, 47], // CAP_AMBIENT
  [50, 52], // SVE_SET_VL, SVE_GET_VL, GET_SPECULATION_CTRL
  [54, 56], // PAC_RESET_KEYS, TAGGED_ADDR_CTRL
  [59, 61], // SYSCALL_USER_DISPATCH, PAC_ENABLED_KEYS
  [63, 66], // SME_VL, MDWE
  [74, 76], // SHADOW_STACK_STATUS: arm64 guarded control stacks
  [0x41555856, 0x41555856], // GET_AUXV
  [0x53564d41, 0x53564d41], // SET_VMA: names for anonymous memory
  [0x59616d61, 0x59616d61], // SET_PTRACER: says who may trace the caller
];

const PR_SET_MM = 35;
const PR_SET_SPECULATION_CTRL = 53;

export const PRCTL: ArgumentRule = {
  text:
    'Options that read, tighten, or concern the caller alone. PR_SET_MM (forges /proc/PID/exe and cmdline) and PR_SET_SPECULATION_CTRL ' +
    '(switches off mitigations) get EPERM, all others EINVAL, as from a kernel that does not know them.',
  check: () => ({
    kind: 'switch',
    word: low(0),
    spans: [
      ...PRCTL_ALLOWED.map(([from, to]) => ({ from, to, check: ALLOW })),
      ...values([PR_SET_MM, PR_SET_SPECULATION_CTRL], EPERM),
    ],
    otherwise: refuse('EINVAL'),
  }),
};

/** S_ISUID and S_ISGID of linux/stat.h. */
const SET_ID_BITS = 0o6000;

function noSetId(mode: Index, otherwise: Check = ALLOW): Check {
  return { kind: 'bits', word: low(mode), mask: SET_ID_BITS, some: EPERM, none: otherwise };
}

/** chmod family: a set-user-ID file in the workspace would outlive the sandbox and run as its owner, root where root started it. */
export function chmodRule(mode: Index): ArgumentRule {
  return { text: 'Mode without S_ISUID and S_ISGID.', check: () => noSetId(mode) };
}

const S_IFMT = 0o170000;
const PLAIN_TYPES = [0, 0o100000, 0o010000, 0o140000];

/** mknod family: regular files, pipes and sockets (mknod(2)); a device node is a door to a driver. */
export function mknodRule(mode: Index): ArgumentRule {
  return {
    text: 'Regular files, FIFOs and sockets; no device nodes; mode without S_ISUID and S_ISGID.',
    check: () => ({
      kind: 'switch',
      word: low(mode),
      mask: S_IFMT,
      spans: values(PLAIN_TYPES, noSetId(mode)),
      otherwise: EPERM,
    }),
  };
}

/** O_CREAT and __O_TMPFILE, the same on both architectures (asm-generic/fcntl.h). Without them the mode is not read and may be garbage. */
const CREATES = 0o100 | 0o20000000;

/** open and openat: the kernel would take a set-user-ID bit in the mode of a new file. */
export function openRule(flags: Index, mode: Index): ArgumentRule {
  return {
    text: 'A file that is created gets a mode without S_ISUID and S_ISGID.',
    check: () => ({ kind: 'bits', word: low(flags), mask: CREATES, some: noSetId(mode), none: ALLOW }),
  };
}

/** The guest's agent: its process, and the thread of its relay, which is the first that it starts. */
const GUEST_AGENT = [1, 2];

export const NOT_THE_AGENT: ArgumentRule = {
  text: 'Number 1 and 2, the agent and its relay, get EPERM: Linux keeps pid 1 from signals of its own namespace, gVisor does not.',
  check: () => ({ kind: 'switch', word: low(0), spans: values(GUEST_AGENT, EPERM), otherwise: ALLOW }),
};

/** A call that nesting would make dangerous and that every program can do without. */
export const NOT_WITH_NESTING: ArgumentRule = {
  text:
    'ENOSYS when nesting is on: the mode lies behind a pointer, and inside a nested user namespace the kernel keeps set-user-ID bits on write. ' +
    'Without nesting every write clears them (write(2)).',
  check: ({ nesting }): Action => (nesting ? refuse('ENOSYS') : ALLOW),
};
