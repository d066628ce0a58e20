import type { SourcePosition } from '../base/errors.ts';

/** The four layers, from the strongest. Source: docs/design/policy.md. */
export type LayerName = 'organisation' | 'user' | 'project' | 'command-line';

export type Tier = 'process' | 'container' | 'vm' | 'vm+gvisor' | 'auto';

/** Where a rule came from: shown by `explain --sources`, named in every decision. */
export interface Origin {
  readonly layer: LayerName | 'built-in';
  /** Absent for the command line and for built-in defaults. */
  readonly position?: SourcePosition;
  /** The profile that brought it, such as `profile:node`. */
  readonly profile?: string;
  /** Why this hole exists; required of every hole in a built-in profile. */
  readonly why?: string;
}

/** One path or glob. Paths are absolute and normalised; `~` and relative forms are resolved when the policy is loaded. */
export interface PathRule {
  readonly id: string;
  readonly path: string;
  /** True when `path` holds `*`, `?` or `[`; such a rule is expanded below its longest literal directory. */
  readonly glob: boolean;
  /** A rule from a profile that may name something absent: no complaint when it is not there. */
  readonly optional: boolean;
  readonly origin: Origin;
}

export interface FilesystemPolicy {
  /** Absolute; the one writable tree, at the same path inside. */
  readonly workspace: string;
  readonly mode: 'direct' | 'review';
  /** False: the workspace is visible read-only. */
  readonly workspaceWritable: boolean;
  readonly read: readonly PathRule[];
  readonly write: readonly PathRule[];
  readonly deny: readonly PathRule[];
  readonly protect: readonly PathRule[];
  /** Built-in protections that the user's own policy lifted by name (`protect: ["!.vscode"]`). */
  readonly unprotect: readonly PathRule[];
  /** Size of the private /tmp, bytes. */
  readonly tmpBytes: number;
}

export type NetworkProtocol = 'https' | 'http' | 'tcp';

/** One network grant. */
export interface NetworkRule {
  /** Stable name for records: the policy's own `id`, else such as `network.allow[2]`. */
  readonly id: string;
  /** Canonical host (`api.example.com`), `*.example.com`, an IP literal, or `host-loopback` for a service on the host's 127.0.0.1. */
  readonly host: string;
  /** At least one; 1 to 65535. */
  readonly ports: readonly number[];
  /** `https`: ClientHello with the same name required; `http`: Host required; `tcp`: opaque. */
  readonly protocol: NetworkProtocol;
  /** Allows private, CGNAT and unique-local addresses for this host; never metadata or link-local. */
  readonly private: boolean;
  /** TLS without a name, or with an encrypted one, is passed when true. */
  readonly allowNoSni: boolean;
  readonly budget?: NetworkBudget;
  /** Settings of the inspected gateway (tls, methods, paths, credential): kept as written; a tier that cannot honour them refuses. */
  readonly inspect?: Readonly<Record<string, unknown>>;
  readonly origin: Origin;
}

export interface NetworkDeny {
  readonly id: string;
  readonly host: string;
  /** Absent: every port. */
  readonly ports?: readonly number[];
  /** Shown to the refused program. */
  readonly reason?: string;
  readonly origin: Origin;
}

/** Counts and bytes for the life of the sandbox; absent means unbounded. */
export interface NetworkBudget {
  readonly requests?: number;
  readonly uploadBytes?: number;
  readonly downloadBytes?: number;
  readonly connections?: number;
  readonly names?: number;
}

export interface NetworkPolicy {
  readonly allow: readonly NetworkRule[];
  readonly deny: readonly NetworkDeny[];
  readonly budget: NetworkBudget;
}

export interface CredentialPolicy {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly origin: Origin;
}

export interface ProcessPolicy {
  /** Names of host variables that pass. */
  readonly envPass: readonly string[];
  readonly envSet: Readonly<Record<string, string>>;
  readonly seccomp: 'default' | 'strict' | 'debug';
  /** Login name inside. */
  readonly user: string;
  /** Allows nested user namespaces (Chromium, rootless containers): weaker, so explicit. */
  readonly nesting: boolean;
}

export type LimitName = 'cpu' | 'memory' | 'pids' | 'files' | 'fileSize' | 'output' | 'timeout' | 'ttl';

/** Absent means unbounded. */
export interface LimitPolicy {
  /** CPUs, may be a fraction. */
  readonly cpu?: number;
  readonly memoryBytes?: number;
  readonly pids?: number;
  readonly files?: number;
  readonly fileSizeBytes?: number;
  readonly outputBytes?: number;
  readonly timeoutMs?: number;
  readonly ttlMs?: number;
  /** Refuse to start when one of these cannot be enforced in full. */
  readonly require: readonly LimitName[];
  /** Limits that a person or policy asked for, as against built-in defaults. */
  readonly explicit: readonly LimitName[];
}

/** The resolved policy: all layers and profiles merged, every value normalised, frozen, serialisable. */
export interface Policy {
  readonly version: 1;
  readonly tier: Tier;
  readonly filesystem: FilesystemPolicy;
  readonly network: NetworkPolicy;
  readonly credentials: readonly CredentialPolicy[];
  readonly process: ProcessPolicy;
  readonly limits: LimitPolicy;
  /** Top-level sections of later tiers (approvals, monitor), kept as written. */
  readonly reserved: Readonly<Record<string, unknown>>;
  /** Where each single value came from: `limits.memory`, `process.env.LANG`. For `explain` only. */
  readonly sources?: Readonly<Record<string, Origin>>;
  /** The layers that took part, strongest first. */
  readonly layers: readonly LayerInfo[];
}

export interface LayerInfo {
  readonly layer: LayerName;
  readonly file?: string;
  /** SHA-256 of the file's bytes, hex. */
  readonly sha256?: string;
  /** A project file that exists and is not trusted takes no part. */
  readonly state: 'used' | 'untrusted' | 'absent';
}

/** What the command line adds: the weakest layer, never above the ceiling of the organisation. */
export interface CommandLineLayer {
  readonly profiles?: readonly string[];
  readonly policyFile?: string;
  readonly workspace?: string;
  readonly tier?: Tier;
  readonly allow?: readonly string[];
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly deny?: readonly string[];
  readonly env?: readonly string[];
  readonly limits?: Readonly<Record<string, string>>;
}

/** Where policies are looked for. */
export interface PolicyContext {
  /** Directory the command was started in; absolute. */
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  readonly home: string;
  readonly configDir: string;
  readonly stateDir: string;
  readonly cacheDir: string;
  /** `/etc/glovebox/policy.yaml` unless a test says otherwise. */
  readonly organisationFile: string;
}

/** A resolved policy with its identity. */
export interface ResolvedPolicy {
  readonly policy: Policy;
  /** SHA-256 of the canonical JSON of `policy`, hex. */
  readonly hash: string;
  /** Lines for stderr: an untrusted project file, a widened rule. */
  readonly notices: readonly string[];
}
