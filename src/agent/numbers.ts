/** Numbers of the agent protocol. The same table is in `agent/src/proto.h` and docs/design/agent-protocol.md; a test compares them. */

export const PROTOCOL_VERSION = 1;

/** Frame types. 0x01xx: boot and lifecycle; 0x02xx: streams; 0x03xx: finish; 0x04xx to 0x06xx: work. */
export const FRAME = {
  airlockSpec: 0x0101,
  airlockReady: 0x0102,
  boot: 0x0103,
  hello: 0x0104,
  error: 0x0105,
  ping: 0x0106,
  pong: 0x0107,
  shutdown: 0x0108,
  machineReady: 0x0109,
  machine: 0x010a,
  machineEnded: 0x010b,
  oom: 0x010c,
  freeze: 0x010d,
  frozen: 0x010e,
  thaw: 0x010f,
  thawed: 0x0110,
  quiesce: 0x0111,
  quiet: 0x0112,
  goOn: 0x0113,
  exec: 0x0201,
  started: 0x0202,
  stdin: 0x0203,
  stdinEof: 0x0204,
  stdout: 0x0205,
  stderr: 0x0206,
  outEof: 0x0207,
  credit: 0x0208,
  signal: 0x0209,
  winsize: 0x020a,
  exit: 0x020b,
  closed: 0x020c,
  dial: 0x020d,
  dialOk: 0x020e,
  data: 0x020f,
  dataEof: 0x0210,
  reset: 0x0211,
  finishSpec: 0x0301,
  appeared: 0x0302,
  finished: 0x0303,
  file: 0x0401,
  done: 0x0402,
  watch: 0x0501,
  processes: 0x0601,
  waitPort: 0x0602,
  ports: 0x0603,
} as const;

/** Channels of a stream, in CREDIT and OUT_EOF. */
export const CHANNEL = { in: 0, out: 1, err: 2, control: 3 } as const;

/** The stream of the command of a one-shot boot. */
export const ONESHOT_STREAM = 1;

export const AIRLOCK_TAG = {
  parentPid: 1,
  cgroup: 2,
  scratch: 3,
  scratchFile: 4,
  root: 5,
  mask: 6,
  network: 7,
  listener: 8,
  argv: 9,
  env: 10,
  assembled: 11,
} as const;
export const ASSEMBLED_TAG = { kind: 1, name: 2, source: 3 } as const;
export const ASSEMBLED_KIND = { dir: 1, take: 2, point: 3 } as const;
export const SCRATCH_TAG = { name: 1, mode: 2, content: 3 } as const;
export const MASK_KIND = { hide: 1, readonly: 2, pin: 3, placeholder: 4 } as const;
export const MASK_EXPECT = { any: 0, file: 1, dir: 2, symlink: 3 } as const;
export const MASK_FLAG = { mustExist: 1, skipMissing: 2, coverHidden: 4, dotFile: 8 } as const;
export const LISTENER_PROTO = { tcp: 1, udp: 2 } as const;
export const READY_TAG = { ipv6: 1, placeholders: 2 } as const;
export const PLACEHOLDER_RESULT = { created: 1, joined: 2, skipped: 3, real: 4, blocked: 5 } as const;

export const BOOT_TAG = {
  mode: 1,
  verify: 2,
  landlockRule: 3,
  landlockMode: 4,
  seccomp: 5,
  rlimit: 6,
  exec: 7,
  flags: 8,
  ids: 9,
  relay: 10,
  listener: 11,
} as const;
export const BOOT_FLAG = { keepCapabilities: 1, ownNetwork: 2, handChannel: 4 } as const;
/** First byte of the preface of each connection to the gateway's relay socket, and the length of the preface. */
export const RELAY_KIND = { tcp: 1, udp: 2, control: 3, sshAgent: 4 } as const;
export const RELAY_PREFACE_BYTES = 24;
export const BOOT_MODE = { oneshot: 1, serve: 2 } as const;
export const VERIFY_KIND = { hidden: 1, readonly: 2, pinned: 3, placeholder: 4, identity: 5 } as const;
export const LANDLOCK_MODE = { off: 0, 'best-effort': 1, required: 2 } as const;
export const LANDLOCK_FLAG = { optional: 1 } as const;

export const EXEC_TAG = { argv: 1, env: 2, cwd: 3, stdio: 4, winsize: 5, rlimit: 6, channel: 7 } as const;
export const STDIO_KIND = { inherit: 0, pipe: 1, pty: 2, null: 3, control: 4 } as const;

export const HELLO_TAG = { version: 1, landlockAbi: 2, flags: 3, pid: 4, uid: 5, gid: 6 } as const;
export const HELLO_FLAG = { landlock: 1, keyring: 2, seccomp: 4, bounding: 8 } as const;
export const ERROR_TAG = { code: 1, stage: 2, op: 3, errno: 4, path: 5, message: 6 } as const;
export const ERROR_CODE = { start: 1, maskLost: 2, protocol: 3, internal: 4 } as const;
export const STARTED_TAG = { pid: 1 } as const;
export const EXIT_TAG = {
  status: 1,
  signal: 2,
  utimeUs: 3,
  stimeUs: 4,
  maxRssKib: 5,
  execErrno: 6,
  execStage: 7,
} as const;
export const RESET_TAG = { errno: 1 } as const;
export const SIGNAL_FLAG = { all: 1 } as const;

export const MACHINE_TAG = {
  hostname: 1,
  id: 2,
  seed: 3,
  clock: 4,
  ids: 5,
  network: 6,
  listener: 7,
  share: 8,
  mount: 9,
  flags: 10,
  base: 11,
  vsock: 12,
  copied: 13,
  files: 14,
} as const;
export const MACHINE_FLAG = { nesting: 1, runtime: 2 } as const;
export const MACHINE_MOUNT_TAG = {
  kind: 1,
  target: 2,
  source: 3,
  writable: 4,
  mode: 5,
  bytes: 6,
  content: 7,
} as const;
export const MACHINE_MOUNT_KIND = {
  base: 1,
  share: 2,
  symlink: 3,
  dir: 4,
  tmpfs: 5,
  proc: 6,
  dev: 7,
  hiddenFile: 8,
  hiddenDir: 9,
  file: 10,
  own: 11,
  copied: 12,
} as const;
export const MACHINE_READY_TAG = { version: 1 } as const;
export const MACHINE_ENDED_TAG = { status: 1 } as const;
export const OOM_TAG = { kills: 1 } as const;
/** THAW has the tags of MACHINE. */
export const FROZEN_TAG = { holds: 1 } as const;
export const THAWED_TAG = { copy: 1 } as const;
export const GO_ON_TAG = { copy: 1 } as const;

/** Records of a stream of copied trees. */
export const TREE_RECORD = {
  dir: 1,
  file: 2,
  link: 3,
  up: 4,
  end: 5,
  same: 6,
  other: 7,
  begin: 8,
} as const;
export const TREE_OTHER = { special: 1, unreadable: 2, large: 3, deep: 4 } as const;
export const TREE_ORDER = { give: 1, giveAll: 2, end: 3, done: 4 } as const;

export const FINISH_TAG = {
  root: 1,
  path: 2,
  umask: 3,
  scanRoot: 4,
  since: 5,
  pattern: 6,
  maxResults: 7,
  maxEntries: 8,
  maxDepth: 9,
  memory: 10,
} as const;
export const APPEARED_TAG = { path: 1, type: 2 } as const;
export const FINISHED_TAG = {
  removed: 1,
  kept: 2,
  adopted: 3,
  entries: 4,
  results: 5,
  unreadable: 6,
  truncated: 7,
} as const;

/** Requests for work: FILE, WATCH, PROCESSES, WAIT_PORT, PORTS. */
export const WORK_TAG = {
  op: 1,
  path: 2,
  target: 3,
  flags: 4,
  mode: 5,
  offset: 6,
  length: 7,
  depth: 8,
  max: 9,
  port: 10,
  timeout: 11,
  how: 12,
} as const;
export const FILE_OP = {
  stat: 1,
  list: 2,
  read: 3,
  write: 4,
  mkdir: 5,
  rename: 6,
  remove: 7,
  chmod: 8,
  symlink: 9,
} as const;
export const WRITE_HOW = { truncate: 1, append: 2, exclusive: 3, update: 4 } as const;
export const WORK_FLAG = { follow: 1, recursive: 2, parents: 4, atomic: 8, noReplace: 16 } as const;

/** Records inside the data of a work stream. */
export const RECORD_TAG = { entry: 1, watching: 2, event: 3, overflow: 4, process: 5, port: 6 } as const;
export const ENTRY_TYPE = { file: 1, dir: 2, symlink: 3, fifo: 4, socket: 5, char: 6, block: 7 } as const;
export const EVENT_KIND = { create: 1, write: 2, remove: 3, rename: 4, chmod: 5 } as const;
export const OVERFLOW_KIND = { queue: 1, watches: 2 } as const;
export const DONE_TAG = { errno: 1, step: 2, bytes: 3, count: 4, flags: 5, entry: 6, signal: 7 } as const;
export const DONE_FLAG = { truncated: 1, created: 2, unreadable: 4 } as const;
