import type { Duplex } from 'node:stream';
import type { LimitName, NetworkPolicy, Tier } from '../policy/contract.ts';

/** One mount of the sandbox's view, in order; a later one covers an earlier one. */
export type Mount =
  | {
      readonly kind: 'bind';
      readonly source: string;
      readonly target: string;
      readonly writable: boolean;
      readonly why: string;
    }
  | { readonly kind: 'symlink'; readonly target: string; readonly to: string; readonly why: string }
  | {
      readonly kind: 'tmpfs';
      readonly target: string;
      readonly bytes: number;
      readonly mode: number;
      readonly why: string;
    }
  | { readonly kind: 'dir'; readonly target: string; readonly mode: number; readonly why: string }
  | { readonly kind: 'proc'; readonly target: string; readonly why: string }
  | { readonly kind: 'dev'; readonly target: string; readonly why: string }
  | { readonly kind: 'hidden'; readonly target: string; readonly type: 'file' | 'dir'; readonly why: string }
  | { readonly kind: 'file'; readonly target: string; readonly content: string; readonly why: string };

/** Something inside a visible tree that is hidden, frozen or held. Applied on the host's paths, before the view is built. */
export interface Mask {
  readonly kind: 'hide' | 'readonly' | 'pin' | 'placeholder';
  readonly path: string;
  /** The tree it lies in: nothing above this is followed through a symlink. */
  readonly root: string;
  readonly type: 'any' | 'file' | 'dir' | 'symlink';
  /** For a placeholder: whether it is unreadable inside. */
  readonly deny: boolean;
  /** For a placeholder: a file that says `.`, because git refuses to work where this one is a directory. */
  readonly dotFile?: true;
  readonly rule: string;
}

export interface PlanLimits {
  readonly cpu?: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
  readonly files?: number;
  readonly fileSizeBytes?: number;
  readonly outputBytes?: number;
  readonly timeoutMs?: number;
  readonly ttlMs?: number;
  readonly require: readonly LimitName[];
  readonly explicit: readonly LimitName[];
}

export interface PlanListener {
  readonly id: number;
  readonly transport: 'tcp' | 'udp';
  readonly port: number;
  readonly role: 'dns' | 'http-proxy' | 'socks' | 'transparent' | 'sentinel';
}

/** Everything about one containment: plain, frozen, serialisable. `glovebox explain` prints it, the audit log keeps its hash. */
export interface Plan {
  readonly version: 1;
  readonly tier: Exclude<Tier, 'auto'>;
  readonly workspace: string;
  readonly cwd: string;
  readonly view: readonly Mount[];
  readonly masks: readonly Mask[];
  readonly env: Readonly<Record<string, string>>;
  readonly limits: PlanLimits;
  readonly syscalls: { readonly profile: 'default' | 'strict' | 'debug'; readonly nesting: boolean };
  readonly network: { readonly listeners: readonly PlanListener[]; readonly policy: NetworkPolicy };
  readonly identity: {
    readonly user: string;
    readonly uid: number;
    readonly gid: number;
    readonly home: string;
    readonly hostname: string;
  };
  /** Trees the sandbox may write: Landlock grants exactly these. */
  readonly writable: readonly string[];
}

/** How strongly a driver holds something. */
export type Strength = 'full' | 'weak' | 'none';

/** Answers about one driver on this machine; callers ask, they never look at a driver's name. */
export interface Capability {
  readonly usable: boolean;
  /** One line: which version, or why not. */
  readonly detail: string;
  /** The exact fix when not usable. */
  readonly fix?: string;
  readonly limits: Readonly<Record<LimitName, Strength>>;
}

export interface StdioChoice {
  readonly stdin: 'inherit' | 'pipe' | 'null';
  readonly stdout: 'inherit' | 'pipe' | 'null';
  readonly stderr: 'inherit' | 'pipe' | 'null';
}

/** A started containment, before anything of the user's runs in it. */
export interface Containment {
  /** Channel to the agent inside. */
  readonly channel: Duplex;
  /** Listening sockets of the sandbox's network namespace, by listener id. */
  readonly listeners: ReadonlyMap<number, object>;
  /** Resolves when the last process is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** Ends everything at once; resolves when it is verified from outside that nothing is left. */
  kill(): Promise<void>;
  /** What the limits saw: kills, peaks. Call after `exited`. */
  usage(): Promise<ContainmentUsage>;
}

export interface ContainmentUsage {
  readonly peakMemoryBytes?: number;
  readonly cpuMs?: number;
  readonly peakPids?: number;
  /** The limit that ended or stopped something, when one did. */
  readonly hit: readonly LimitName[];
}
