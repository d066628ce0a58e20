import type { LimitName, LimitPolicy, NamedDriver, NetworkPolicy, Tier } from '../policy/contract.ts';

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
  | {
      readonly kind: 'file';
      readonly target: string;
      readonly content: string | Uint8Array;
      readonly why: string;
    }
  /** Made when the sandbox starts, other in each: the plan says where it stands and what it is, `fillMade` puts it in. */
  | { readonly kind: 'made'; readonly target: string; readonly what: MadeKind; readonly why: string };

export type MadeKind =
  | 'ca'
  | 'ca-bundle'
  | 'java-trust'
  | 'masked-file'
  | 'ssh-agent'
  | 'relay'
  | 'review-copy';

/** What a made mount turns out to be: bytes, or something of the host that exists for this sandbox alone. */
export type MadeContent = { readonly content: Uint8Array } | { readonly source: string };

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

/** Limits reach the plan as the policy has them. */
export type PlanLimits = LimitPolicy;

export interface PlanListener {
  readonly id: number;
  readonly transport: 'tcp' | 'udp';
  readonly port: number;
  readonly role: 'dns' | 'http-proxy' | 'socks' | 'transparent' | 'sentinel';
}

/** What builds the containment: for the container and vm tiers as the policy says; the process tier has one. */
export type DriverName = 'bubblewrap' | NamedDriver;

/** Everything about one containment: plain, frozen, serialisable. `glovebox explain` prints it, the audit log keeps its hash. */
export interface Plan {
  readonly version: 1;
  readonly tier: Exclude<Tier, 'auto'>;
  readonly driver: DriverName;
  readonly workspace: string;
  readonly cwd: string;
  readonly view: readonly Mount[];
  readonly masks: readonly Mask[];
  readonly env: Readonly<Record<string, string>>;
  readonly limits: PlanLimits;
  readonly syscalls: {
    readonly profile: 'default' | 'strict' | 'debug';
    readonly nesting: boolean;
    /** Set for a step that makes an image. */
    readonly place?: 'recipe';
  };
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

export interface ContainmentUsage {
  readonly peakMemoryBytes?: number;
  readonly cpuMs?: number;
  readonly peakPids?: number;
  /** The limit that ended or stopped something, when one did. */
  readonly hit: readonly LimitName[];
}
