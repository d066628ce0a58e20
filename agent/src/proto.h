/* Numbers of the agent protocol. The same table is in src/agent/numbers.ts and docs/design/agent-protocol.md. */
#ifndef GLOVEBOX_PROTO_H
#define GLOVEBOX_PROTO_H

enum {
    PROTOCOL_VERSION = 1,
    STREAM_WINDOW = 256 * 1024,
    STREAM_MAX = 1024,
    CHANNEL_FD = 4,
    /* The way out, where the channel is two pipes. */
    CHANNEL_OUT_FD = 5,
    IPC_FD = 3,
    EXIT_REFUSED = 125,
    /* Results of this many masks fit an AIRLOCK_READY frame. */
    MASKS_MAX = 65000,
};

/* Frame types. 0x01xx: boot and lifecycle; 0x02xx: streams; 0x03xx: finish; 0x04xx-0x06xx: work. */
enum frame_type {
    F_AIRLOCK_SPEC = 0x0101,
    F_AIRLOCK_READY = 0x0102,
    F_BOOT = 0x0103,
    F_HELLO = 0x0104,
    F_ERROR = 0x0105,
    F_PING = 0x0106,
    F_PONG = 0x0107,
    F_SHUTDOWN = 0x0108,
    F_MACHINE_READY = 0x0109,
    F_MACHINE = 0x010a,
    F_MACHINE_ENDED = 0x010b,
    F_OOM = 0x010c,
    F_FREEZE = 0x010d,
    F_FROZEN = 0x010e,
    F_THAW = 0x010f,
    F_THAWED = 0x0110,
    F_QUIESCE = 0x0111,
    F_QUIET = 0x0112,
    F_GO_ON = 0x0113,

    F_EXEC = 0x0201,
    F_STARTED = 0x0202,
    F_STDIN = 0x0203,
    F_STDIN_EOF = 0x0204,
    F_STDOUT = 0x0205,
    F_STDERR = 0x0206,
    F_OUT_EOF = 0x0207,
    F_CREDIT = 0x0208,
    F_SIGNAL = 0x0209,
    F_WINSIZE = 0x020a,
    F_EXIT = 0x020b,
    F_CLOSED = 0x020c,
    F_DIAL = 0x020d,
    F_DIAL_OK = 0x020e,
    F_DATA = 0x020f,
    F_DATA_EOF = 0x0210,
    F_RESET = 0x0211,

    F_FINISH_SPEC = 0x0301,
    F_APPEARED = 0x0302,
    F_FINISHED = 0x0303,

    F_FILE = 0x0401,
    F_DONE = 0x0402,

    F_WATCH = 0x0501,

    F_PROCESSES = 0x0601,
    F_WAIT_PORT = 0x0602,
    F_PORTS = 0x0603,
};

/* Channels of a stream, in CREDIT and OUT_EOF. */
enum { CH_IN = 0, CH_OUT = 1, CH_ERR = 2, CH_CONTROL = 3, OUT_CHANNELS = 3 };

enum airlock_tag {
    A_PARENT_PID = 1,
    A_CGROUP = 2,
    A_SCRATCH = 3,
    A_SCRATCH_FILE = 4,
    A_ROOT = 5,
    A_MASK = 6,
    A_NETWORK = 7,
    A_LISTENER = 8,
    A_ARGV = 9,
    A_ENV = 10,
    A_ASSEMBLED = 11,
};

enum scratch_tag { SF_NAME = 1, SF_MODE = 2, SF_CONTENT = 3 };
enum assembled_tag { AS_KIND = 1, AS_NAME = 2, AS_SOURCE = 3 };
enum assembled_kind { ASSEMBLE_DIR = 1, ASSEMBLE_TAKE = 2, ASSEMBLE_POINT = 3 };

enum mask_kind { MASK_HIDE = 1, MASK_READONLY = 2, MASK_PIN = 3, MASK_PLACEHOLDER = 4 };
enum mask_expect { EXPECT_ANY = 0, EXPECT_FILE = 1, EXPECT_DIR = 2, EXPECT_SYMLINK = 3 };
enum mask_flag { MASK_MUST_EXIST = 1, MASK_SKIP_MISSING = 2, MASK_COVER_HIDDEN = 4, MASK_DOT_FILE = 8 };
enum listener_proto { PROTO_TCP = 1, PROTO_UDP = 2 };

enum ready_tag { R_IPV6 = 1, R_PLACEHOLDERS = 2 };
enum placeholder_result { PH_CREATED = 1, PH_JOINED = 2, PH_SKIPPED = 3, PH_REAL = 4, PH_BLOCKED = 5 };

enum boot_tag {
    B_MODE = 1,
    B_VERIFY = 2,
    B_LANDLOCK_RULE = 3,
    B_LANDLOCK_MODE = 4,
    B_SECCOMP = 5,
    B_RLIMIT = 6,
    B_EXEC = 7,
    B_FLAGS = 8,
    B_IDS = 9,
    B_RELAY = 10,
    B_LISTENER = 11,
};
enum boot_flag { BOOT_KEEP_CAPABILITIES = 1, BOOT_OWN_NETWORK = 2, BOOT_HAND_CHANNEL = 4 };

/* What a connection to the gateway's relay socket carries: first byte of its preface. */
enum relay_kind { RELAY_TCP = 1, RELAY_UDP = 2, RELAY_CONTROL = 3, RELAY_SSH_AGENT = 4 };
enum { RELAY_PREFACE = 24 };

enum boot_mode { MODE_ONESHOT = 1, MODE_SERVE = 2 };
enum verify_kind { VERIFY_HIDDEN = 1, VERIFY_READONLY = 2, VERIFY_PINNED = 3, VERIFY_PLACEHOLDER = 4, VERIFY_IDENTITY = 5 };
enum landlock_mode { LANDLOCK_OFF = 0, LANDLOCK_BEST_EFFORT = 1, LANDLOCK_REQUIRED = 2 };
enum landlock_flag { LANDLOCK_RULE_OPTIONAL = 1 };

enum exec_tag { X_ARGV = 1, X_ENV = 2, X_CWD = 3, X_STDIO = 4, X_WINSIZE = 5, X_RLIMIT = 6, X_CHANNEL = 7 };
enum stdio_kind { STDIO_INHERIT = 0, STDIO_PIPE = 1, STDIO_PTY = 2, STDIO_NULL = 3, STDIO_CONTROL = 4 };

enum hello_tag {
    H_VERSION = 1,
    H_LANDLOCK_ABI = 2,
    H_FLAGS = 3,
    H_PID = 4,
    H_UID = 5,
    H_GID = 6,
};
enum hello_flag { HELLO_LANDLOCK = 1, HELLO_KEYRING = 2, HELLO_SECCOMP = 4, HELLO_BOUNDING = 8 };

enum error_tag { E_CODE = 1, E_STAGE = 2, E_OP = 3, E_ERRNO = 4, E_PATH = 5, E_MESSAGE = 6 };
enum error_code { ERR_START = 1, ERR_MASK_LOST = 2, ERR_PROTOCOL = 3, ERR_INTERNAL = 4 };

enum started_tag { S_PID = 1 };
enum exit_tag {
    X_STATUS = 1,
    X_SIGNAL = 2,
    X_UTIME_US = 3,
    X_STIME_US = 4,
    X_MAX_RSS_KIB = 5,
    X_EXEC_ERRNO = 6,
    X_EXEC_STAGE = 7,
};
/* The flag of a SIGNAL frame: every process of the sandbox. */
enum { SIGNAL_ALL = 1 };
enum reset_tag { RESET_ERRNO = 1 };

enum machine_tag {
    M_HOSTNAME = 1,
    M_ID = 2,
    M_SEED = 3,
    M_CLOCK = 4,
    M_IDS = 5,
    M_NETWORK = 6,
    M_LISTENER = 7,
    M_SHARE = 8,
    M_MOUNT = 9,
    M_FLAGS = 10,
    M_BASE = 11,
    M_VSOCK = 12,
    M_COPIED = 13,
    M_FILES = 14,
};
enum machine_flag { MACHINE_NESTING = 1, MACHINE_RUNTIME = 2 };
enum machine_mount_tag { MM_KIND = 1, MM_TARGET = 2, MM_SOURCE = 3, MM_WRITABLE = 4, MM_MODE = 5, MM_BYTES = 6, MM_CONTENT = 7 };
enum machine_mount_kind {
    MOUNT_BASE = 1,
    MOUNT_SHARE = 2,
    MOUNT_SYMLINK = 3,
    MOUNT_DIR = 4,
    MOUNT_TMPFS = 5,
    MOUNT_PROC = 6,
    MOUNT_DEV = 7,
    MOUNT_HIDDEN_FILE = 8,
    MOUNT_HIDDEN_DIR = 9,
    MOUNT_FILE = 10,
    MOUNT_OWN = 11,
    MOUNT_COPIED = 12,
};
enum machine_ready_tag { MR_VERSION = 1 };
enum machine_ended_tag { ME_STATUS = 1 };
enum oom_tag { OOM_KILLS = 1 };
/* THAW has the tags of MACHINE. */
enum frozen_tag { FR_HOLDS = 1 };
enum thawed_tag { TH_COPY = 1 };
enum go_on_tag { GO_COPY = 1 };

/* The stream of copied trees, on a port of its own. The last four come from the machine only. */
enum tree_kind {
    TREE_DIR = 1,
    TREE_FILE = 2,
    TREE_LINK = 3,
    TREE_UP = 4,
    TREE_END = 5,
    TREE_SAME = 6,
    TREE_OTHER = 7,
    TREE_BEGIN = 8,
};
/* The detail of TREE_OTHER: why there is no more of it. */
enum tree_other { OTHER_SPECIAL = 1, OTHER_UNREADABLE = 2, OTHER_LARGE = 3, OTHER_DEEP = 4 };
/* One byte each, from the host. */
enum tree_order { ORDER_GIVE = 1, ORDER_GIVE_ALL = 2, ORDER_END = 3, ORDER_DONE = 4 };

enum finish_tag {
    FS_ROOT = 1,
    FS_PATH = 2,
    FS_UMASK = 3,
    FS_SCAN_ROOT = 4,
    FS_SINCE = 5,
    FS_PATTERN = 6,
    FS_MAX_RESULTS = 7,
    FS_MAX_ENTRIES = 8,
    FS_MAX_DEPTH = 9,
    FS_MEMORY = 10,
};
enum appeared_tag { AP_PATH = 1, AP_TYPE = 2 };
enum finished_tag {
    FD_REMOVED = 1,
    FD_KEPT = 2,
    FD_ADOPTED = 3,
    FD_ENTRIES = 4,
    FD_RESULTS = 5,
    FD_UNREADABLE = 6,
    FD_TRUNCATED = 7,
};

/* Requests for work: FILE, WATCH, PROCESSES, WAIT_PORT, PORTS. */
enum work_tag {
    W_OP = 1,
    W_PATH = 2,
    W_TARGET = 3,
    W_FLAGS = 4,
    W_MODE = 5,
    W_OFFSET = 6,
    W_LENGTH = 7,
    W_DEPTH = 8,
    W_MAX = 9,
    W_PORT = 10,
    W_TIMEOUT = 11,
    W_HOW = 12,
};
enum file_op {
    OP_STAT = 1,
    OP_LIST = 2,
    OP_READ = 3,
    OP_WRITE = 4,
    OP_MKDIR = 5,
    OP_RENAME = 6,
    OP_REMOVE = 7,
    OP_CHMOD = 8,
    OP_SYMLINK = 9,
};
enum write_how { HOW_TRUNCATE = 1, HOW_APPEND = 2, HOW_EXCLUSIVE = 3, HOW_UPDATE = 4 };
enum work_flag { WF_FOLLOW = 1, WF_RECURSIVE = 2, WF_PARENTS = 4, WF_ATOMIC = 8, WF_NO_REPLACE = 16 };
enum work_limit { DEPTH_MAX = 64, TIMEOUT_MAX_MS = 86400000 };

/* Records inside the data of a work stream, as TLV. */
enum record_tag { REC_ENTRY = 1, REC_WATCHING = 2, REC_EVENT = 3, REC_OVERFLOW = 4, REC_PROCESS = 5, REC_PORT = 6 };
enum entry_type {
    ENTRY_FILE = 1,
    ENTRY_DIR = 2,
    ENTRY_SYMLINK = 3,
    ENTRY_FIFO = 4,
    ENTRY_SOCKET = 5,
    ENTRY_CHAR = 6,
    ENTRY_BLOCK = 7,
};
enum event_kind { EVENT_CREATE = 1, EVENT_WRITE = 2, EVENT_REMOVE = 3, EVENT_RENAME = 4, EVENT_CHMOD = 5 };
enum overflow_kind { OVERFLOW_QUEUE = 1, OVERFLOW_WATCHES = 2 };

enum done_tag { D_ERRNO = 1, D_STEP = 2, D_BYTES = 3, D_COUNT = 4, D_FLAGS = 5, D_ENTRY = 6, D_SIGNAL = 7 };
enum done_flag { DONE_TRUNCATED = 1, DONE_CREATED = 2, DONE_UNREADABLE = 4 };

#endif
