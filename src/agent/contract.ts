import type { Duplex, Readable, Writable } from 'node:stream';
import type { Abortable, AgentFileAccess, ListeningPort, SandboxProcess } from './files-contract.ts';

/** A path as the kernel sees it: bytes; text means UTF-8. */
export type PathBytes = string | Uint8Array;

/** Credentials to run the agent with, instead of the caller's. */
export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/** A file in the scratch tmpfs; `name` is relative and at most one directory deep. */
export interface ScratchFile {
  readonly name: string;
  /** Permission bits, 0 to 0o777. */
  readonly mode: number;
  readonly content: string | Uint8Array;
}

/**
 * Part of a directory that the airlock puts together in its scratch, after the masks are in force. `name` is relative, at any
 * depth; missing directories above it are made.
 *
 * - `dir`: an empty directory. - `take`: what `source` is: a small file as a copy, anything else mounted read-only.
 * - `point`: a place that a later mount of `source` can cover.
 */
export type AssembledEntry =
  | { readonly kind: 'dir'; readonly name: string }
  | { readonly kind: 'take' | 'point'; readonly name: string; readonly source: string };

/**
 * One step that covers a path, applied in order: an ancestor's pin comes before what lies below it.
 *
 * - `hide`: an empty unreadable object stands there. - `readonly`: the object itself, read-only, recursive.
 * - `pin`: the object itself, but it cannot be renamed or removed. - `placeholder`: the path does not exist; nothing can
 * be made there.
 */
export interface MaskOp {
  readonly kind: 'hide' | 'readonly' | 'pin' | 'placeholder';
  /** Absolute directory without symbolic links; what lies below it is resolved without following any. */
  readonly root: string;
  /** Relative to the root, without "." and "..". */
  readonly path: PathBytes;
  /** What the host saw there; anything else is refused. Default `any`. */
  readonly expect?: 'any' | 'file' | 'dir' | 'symlink';
  /** What to do when the path is gone. Default `fail`. */
  readonly missing?: 'fail' | 'skip';
  /**
   * What a placeholder looks like: `empty` and readable (protect), `hidden` (deny), or a file that says `.`
   * (git's `commondir`). Default `hidden`.
   */
  readonly cover?: 'empty' | 'hidden' | 'dot';
}

/** A socket in the sandbox's network namespace that the host accepts on. */
export interface ListenerSpec {
  /** Comes back with the handle. */
  readonly id: number;
  readonly proto: 'tcp' | 'udp';
  readonly port: number;
}

/** What the airlock stage does before it executes bubblewrap. */
export interface AirlockSpec {
  /** The process that spawned the airlock; when it dies, so does the sandbox. */
  readonly parentPid: number;
  /** Absolute paths of `tasks` (version 1) or `cgroup.procs` files to join first. */
  readonly cgroups?: readonly string[];
  /** Existing private directory; a tmpfs is mounted there, visible to the airlock and bubblewrap only. */
  readonly scratch: string;
  readonly files?: readonly ScratchFile[];
  readonly assembled?: readonly AssembledEntry[];
  readonly masks?: readonly MaskOp[];
  /** Routes and listeners; loopback is up either way. */
  readonly network: boolean;
  readonly listeners?: readonly ListenerSpec[];
  /** bubblewrap, with an absolute path. */
  readonly argv: readonly string[];
  /** The whole environment of bubblewrap. */
  readonly env: Readonly<Record<string, string>>;
}

/** What became of a placeholder: `skipped` when nobody could create the path, `blocked` when a file stands in its way. */
export type PlaceholderResult = 'created' | 'joined' | 'skipped' | 'real' | 'blocked';

export interface AirlockReady {
  /** False when the host has no IPv6: only IPv4 is routed then. */
  readonly ipv6: boolean;
  /** By index into the masks; only placeholders have an entry. */
  readonly placeholders: ReadonlyMap<number, PlaceholderResult>;
}

/** A mask that the inside stage finds in force, or refuses to start. Absolute path as seen inside. */
export interface VerifyMask {
  readonly kind: 'hidden' | 'readonly' | 'pinned' | 'placeholder';
  readonly path: PathBytes;
}

/** A directory that has to be the very one that the host looked at. */
export interface VerifyIdentity {
  /** Inside. */
  readonly path: PathBytes;
  readonly ino: bigint;
  readonly major: number;
  readonly minor: number;
}

export interface LandlockRule {
  readonly path: PathBytes;
  /** LANDLOCK_ACCESS_FS_* bits; those the kernel does not know are left out. */
  readonly access: bigint;
  /** Skip the rule when the path does not exist. */
  readonly optional?: boolean;
}

/** A resource limit; numbers of getrlimit(2). `infinity` is `2n ** 64n - 1n`. */
export interface ResourceLimit {
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

/** Where one of a command's first three descriptors goes; `inherit` only in one-shot mode. */
/** `control`, for stdin only: the null device there, and a bidirectional channel of its own on descriptor 3. */
export type StdioMode = 'inherit' | 'pipe' | 'pty' | 'null' | 'control';

export interface ExecSpec {
  readonly argv: readonly (string | Uint8Array)[];
  /** The whole environment of the command. */
  readonly env: Readonly<Record<string, string>>;
  /** Absolute path inside. */
  readonly cwd: string;
  /** stdin, stdout, stderr. Default `null`, `pipe`, `pipe`. */
  readonly stdio?: readonly [StdioMode, StdioMode, StdioMode];
  /** Size of the terminal. Default 24 by 80. */
  readonly terminal?: { readonly rows: number; readonly cols: number };
  readonly limits?: readonly ResourceLimit[];
  /** The command of a one-shot boot gets the jail's standard output at this number besides, for a channel of its own. */
  readonly channel?: number;
}

/** What the inside stage does before any command runs. */
export interface BootSpec {
  /** One command that ends the sandbox, or a sandbox that serves commands. */
  readonly mode: 'oneshot' | 'serve';
  readonly verify?: readonly VerifyMask[];
  readonly identities?: readonly VerifyIdentity[];
  readonly landlock?: { readonly mode: 'best-effort' | 'required'; readonly rules: readonly LandlockRule[] };
  /** An array of `struct sock_filter`; none is installed when left out. */
  readonly seccomp?: Uint8Array;
  /** Limits of every command. */
  readonly limits?: readonly ResourceLimit[];
  /** The command of a one-shot boot. */
  readonly exec?: ExecSpec;
  /** The command keeps the capabilities of the jail's user namespace: it is the runtime of a guest kernel, or serves files to one in a machine. */
  readonly keepCapabilities?: boolean;
  /** What the command of a one-shot boot has as its channel, for its guest, is carried to and from this stage's own: it says nothing more on it but why it fails. */
  readonly handChannel?: boolean;
  /** This stage is the first process of a guest kernel. */
  readonly guest?: GuestSpec;
}

/** What a guest kernel lacks that a jail brings along. */
export interface GuestSpec {
  /** Ids of everything inside. */
  readonly identity: Identity;
  /** Where connections to the listeners go; none of them answers without it. */
  readonly relay?: { readonly path: string; readonly listeners: readonly ListenerSpec[] };
  /** The kernel is the host's and lends no capability: the stage makes a network namespace of its own. */
  readonly ownNetwork?: boolean;
}

/** What the inside stage reached, said before the first command. */
export interface AgentHello {
  readonly version: number;
  /** 0 when the kernel has no Landlock. */
  readonly landlockAbi: number;
  readonly landlock: boolean;
  readonly seccomp: boolean;
  readonly keyring: boolean;
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

export interface AgentExit {
  /** As a shell says it: the command's code, or 128 + signal; 125 to 127 when it did not start. */
  readonly status: number;
  /** Number of the signal that ended it, or undefined. */
  readonly signal: number | undefined;
  /** CPU time in microseconds and the greatest resident size in KiB, of the command and what it waited for. */
  readonly userUs: number;
  readonly systemUs: number;
  readonly maxRssKib: number;
  /** Why the command did not start; undefined when it did. */
  readonly refused:
    | { readonly stage: string; readonly errno: number; /** Where it was to start. */ readonly cwd?: string }
    | undefined;
}

/** One running command. */
export interface AgentProcess {
  readonly id: number;
  /** The process number inside; rejects when the command did not start. */
  readonly started: Promise<number>;
  readonly stdin: Writable;
  /** Ends when nobody inside can write to it any more. Backpressure reaches the command. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** What the command writes to its control channel; `stdin` is the way there. */
  readonly control: Readable;
  /** Resolves when the command itself has ended; rejects when the sandbox is lost. */
  readonly exit: Promise<AgentExit>;
  /** Signals the command's process group. */
  kill(signal: number): void;
  resize(rows: number, cols: number): void;
  /** Closes the command's streams and kills its process group. */
  abandon(): void;
}

/** The host end of one sandbox's agent. */
export interface AgentChannel {
  /** From the airlock stage, when it speaks on the same channel. */
  readonly ready: Promise<AirlockReady>;
  readonly hello: Promise<AgentHello>;
  /** Resolves when the session is over, with the reason unless it was an orderly end. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  exec(spec: ExecSpec): AgentProcess;
  /** Connects to a port on the sandbox's loopback. */
  dial(port: number): Promise<Duplex>;
  /** File work inside, with the rights of commands. */
  readonly files: AgentFileAccess;
  processes(options?: Abortable): Promise<readonly SandboxProcess[]>;
  ports(options?: Abortable): Promise<readonly ListeningPort[]>;
  /** Resolves when something inside listens; rejects with `E_TIMEOUT` after `timeoutMs`, default one minute. */
  waitForPort(port: number, options?: Abortable & { readonly timeoutMs?: number }): Promise<void>;
  signalAll(signal: number): void;
  ping(): Promise<void>;
  /** TERM, then KILL after the grace, in milliseconds. Resolves when the channel is closed. */
  shutdown(graceMs?: number): Promise<void>;
  destroy(reason?: Error): void;
}

export interface FinishSpec {
  /** Placeholders to release, as in the airlock's masks. */
  readonly placeholders?: readonly { readonly root: string; readonly path: PathBytes }[];
  /** The caller's umask, for parents of placeholders that now hold files. Default 0o022. */
  readonly umask?: number;
  readonly scan?: ScanSpec;
}

/** A search for names that matter and changed during the run. */
export interface ScanSpec {
  readonly root: string;
  /** Nanoseconds since the epoch; names whose ctime is earlier are left out. */
  readonly sinceNs: bigint;
  /** Trailing path segments with `*` inside a segment: `Makefile`, `.git/hooks/*`. */
  readonly patterns: readonly string[];
  /** File in a private directory: what the last scan of this tree saw, so that an unchanged directory is not read again. */
  readonly memory?: string;
  readonly maxResults?: number;
  readonly maxEntries?: number;
  readonly maxDepth?: number;
}

export interface AppearedFile {
  /** Relative to the scan's root. */
  readonly path: Buffer;
  readonly type: 'file' | 'dir' | 'symlink';
}

export interface FinishResult {
  readonly removed: number;
  /** Placeholders that another run still uses. */
  readonly kept: number;
  /** Parents of placeholders that hold files now and became ordinary directories. */
  readonly adopted: number;
  readonly entries: number;
  readonly unreadable: number;
  /** True when a limit of the scan was met: there may be more. */
  readonly truncated: boolean;
  readonly appeared: readonly AppearedFile[];
}

export interface AgentProbe {
  readonly version: string;
  readonly arch: string;
  readonly landlockAbi: number;
  readonly userNamespaces: {
    readonly ok: boolean;
    readonly errno: number;
    readonly step: string;
    readonly apparmorRestricted: boolean;
  };
  readonly mountApi: { readonly ok: boolean; readonly errno: number };
  readonly network: { readonly ok: boolean; readonly errno: number; readonly ipv6: boolean };
  readonly seccomp: boolean;
}
