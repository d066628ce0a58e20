import type { SourcePosition } from '../base/errors.ts';
import type { NamedDriver } from './driver-names.ts';

/** The four layers, from the strongest. Source: docs/design/policy.md. */
export type LayerName = 'organisation' | 'user' | 'project' | 'command-line';

export type Tier = 'process' | 'container' | 'vm' | 'vm+gvisor' | 'auto';

export type { ContainerDriver, NamedDriver, VmDriver } from './driver-names.ts';

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

/** What stands at `/` beside the trees of the policy: a directory of the host (absolute), or an image of the store. */
export type BaseSystem =
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'image'; readonly name: string };

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
  /** Absent: the host's own base system. */
  readonly base?: BaseSystem;
}

/** `ssh` is tcp whose greeting must be SSH; it may use brokered keys. */
export type NetworkProtocol = 'https' | 'http' | 'tcp' | 'ssh';

/** How one value of a request is compared. `regex` is RE2 syntax, matched in linear time, anywhere in the value. */
export type ValueMatch =
  | { readonly kind: 'any' }
  | { readonly kind: 'exact'; readonly value: string }
  | { readonly kind: 'prefix'; readonly value: string }
  | { readonly kind: 'regex'; readonly pattern: string };

/** One shape of request. Every part that is given must hold; an absent part holds for all. */
export interface RequestMatch {
  /** Upper case. */
  readonly methods?: readonly string[];
  /** Glob over the canonical path: `*` within one segment, `**` over any number. No escapes. */
  readonly path?: string;
  /** A gRPC method, `pkg.Service/Method` or `pkg.Service/*`: POST with a gRPC content type to that path. */
  readonly rpc?: string;
  /** A named parameter must occur exactly once (in `refuse`: at least once, one of them matching). */
  readonly query?: Readonly<Record<string, ValueMatch>>;
  /** Lower-case names; the same counting as `query`. */
  readonly headers?: Readonly<Record<string, ValueMatch>>;
}

/** A value at a place in a JSON body that makes the request refused. Duplicate keys are refused wherever a body is read. */
export interface JsonDeny {
  /** `$.a.b`, `$.a[*].b`, `$..b`. */
  readonly path: string;
  /** `any`: the key may not be there at all. Text values are compared; `equals` and `prefix` list alternatives. */
  readonly match:
    | { readonly kind: 'any' }
    | { readonly kind: 'equals'; readonly values: readonly string[] }
    | { readonly kind: 'prefix'; readonly values: readonly string[] };
}

/** JSON-RPC of the Model Context Protocol over HTTP. Lists hold exact names or `prefix*`. */
export interface McpRules {
  /** Tools that `tools/call` may name; absent: all. */
  readonly tools?: readonly string[];
  /** JSON-RPC methods; absent: all. `initialize`, `ping` and `notifications/*` pass always. */
  readonly methods?: readonly string[];
}

export interface GraphqlRules {
  /** Operation types; default query only. */
  readonly types: readonly ('query' | 'mutation' | 'subscription')[];
  /** Top-level fields (`viewer`, `createIssue`) that may be asked for; absent: all. Aliases do not hide them. */
  readonly fields?: readonly string[];
}

/** Where in a request a credential may stand. Header, query and cookie names are lower case (query and cookie names as written). */
export type CredentialPlace =
  | { readonly kind: 'header'; readonly name: string; readonly scheme?: 'bearer' | 'basic' | 'token' }
  | { readonly kind: 'query'; readonly name: string }
  | { readonly kind: 'cookie'; readonly name: string }
  | { readonly kind: 'ws-protocol' }
  | { readonly kind: 'sigv4' }
  | { readonly kind: 'body' };

/** A pinned host takes exactly one credential: this sandbox's placeholder, in one of the places. */
export interface PinRule {
  readonly credential: string;
  /** False: a request without any credential passes too. A foreign one never does. */
  readonly require: boolean;
  /** Default: the places of the credential. */
  readonly places?: readonly CredentialPlace[];
}

/** What a rule says about requests. Its presence means that every request is read: TLS is terminated where there is TLS. */
export interface RequestPolicy {
  /** At least one must match; absent: every request to the host. */
  readonly allow?: readonly RequestMatch[];
  /** Any match refuses; looked at first. */
  readonly refuse: readonly RequestMatch[];
  /** `observe` records what `allow`, `refuse`, `json`, `mcp`, `graphql` and `dlp` would refuse, and lets it pass; nothing else is lifted. */
  readonly enforcement: 'enforce' | 'observe';
  readonly http2: boolean;
  /** `%2f` in a path: refused, or kept as it is and matched as an ordinary character. */
  readonly encodedSlash: 'deny' | 'allow';
  /** `inspect` reads the frames (needed for scanning); no compression is offered then. */
  readonly websocket: 'deny' | 'allow' | 'inspect';
  /** Lower-case names of request headers that may pass; absent: all. Host, framing and the pinned credential always pass. */
  readonly requestHeaders?: readonly string[];
  /** Set on the way out, replacing what the sandbox sent. */
  readonly setHeaders: Readonly<Record<string, string>>;
  readonly removeHeaders: readonly string[];
  readonly stripResponseHeaders: readonly string[];
  readonly json?: readonly JsonDeny[];
  readonly mcp?: McpRules;
  readonly graphql?: GraphqlRules;
  readonly pin?: PinRule;
  /** Credentials whose placeholders are swapped here; the pinned one is among them. */
  readonly credentials: readonly string[];
  /** Look for secrets in what goes out, as `network.dlp` says. */
  readonly dlp: boolean;
  readonly limits: RequestLimits;
}

/** Per rule; absent means the gateway's own bound. */
export interface RequestLimits {
  readonly requestsPerMinute?: number;
  /** Requests at once. */
  readonly concurrency?: number;
  /** Bytes of one request body. */
  readonly bodyBytes?: number;
  /** Whole time of one request. */
  readonly requestMs?: number;
}

/** Data-loss rules for everything that is inspected and says `dlp`. */
export interface DlpPolicy {
  readonly action: 'deny' | 'observe';
  /** Shipped patterns (cloud keys, tokens, private keys). */
  readonly patterns: boolean;
  /** The user's own, RE2 syntax. */
  readonly custom: readonly { readonly name: string; readonly pattern: string }[];
  /** Values that exist only to be seen leaving. */
  readonly canaries: readonly string[];
  /** How many layers of gzip, base64, hex, url and JSON coding are undone, 0 to 4. */
  readonly decodeDepth: number;
  readonly maxInspectBytes: number;
  /** Verdict for what cannot be looked into: too large, too deep, unknown coding. */
  readonly uninspectable: 'deny' | 'allow';
  /** Also look for coded data in the labels of host names and in paths. */
  readonly names: boolean;
  /** Every rule that is inspected is scanned, not only those that say so. */
  readonly everywhere: boolean;
}

/** A proxy that the host must use to reach the outside. All guards stand before it. */
export interface ParentProxyPolicy {
  /** `http://host:port`; `https://` and user information are refused. */
  readonly url: string;
  /** Hosts reached directly: names, `.suffix`, addresses, CIDR, `*`; each may have a port. */
  readonly noProxy: readonly string[];
  /** Basic credentials for it, by name. */
  readonly credential?: string;
}

/** An unknown host is held until somebody answers. */
export interface AskPolicy {
  readonly timeoutMs: number;
  /** Questions open at once; one more is a denial. */
  readonly pending: number;
}

export interface SshPolicy {
  /** Hosts that lent keys may log in to: `SHA256:…` fingerprints of their host keys. At least one. */
  readonly hostKeys: readonly string[];
  /** Keys of the user's agent that may sign, by fingerprint or comment; absent: none is offered. */
  readonly keys?: readonly string[];
}

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
  /** Of private addresses these ranges only, canonical; `private` is true then. Absent: all of them. */
  readonly privateRanges?: readonly string[];
  /** TLS without a name, or with an encrypted one, is passed when true. */
  readonly allowNoSni: boolean;
  readonly budget?: NetworkBudget;
  /** Present: every request is read and judged. Only with `https` and `http`. */
  readonly requests?: RequestPolicy;
  readonly ssh?: SshPolicy;
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
  readonly requestsPerMinute?: number;
  /** Connections or requests at once. */
  readonly concurrency?: number;
}

export interface NetworkPolicy {
  readonly allow: readonly NetworkRule[];
  readonly deny: readonly NetworkDeny[];
  readonly budget: NetworkBudget;
  /** What happens when a budget of the whole is used up, beside the refusal; default refuse. */
  readonly overBudget?: 'refuse' | 'pause';
  readonly dlp?: DlpPolicy;
  readonly parentProxy?: ParentProxyPolicy;
  readonly ask?: AskPolicy;
  /** Files of certificates (PEM) that upstream servers may also be signed by; absolute. */
  readonly trust?: readonly string[];
}

/** Where a secret comes from. Only the host reads it, when it is first needed. */
export type CredentialSource =
  | { readonly kind: 'env'; readonly name: string }
  /** Absolute. One trailing newline is not part of the secret. */
  | { readonly kind: 'file'; readonly path: string }
  /** Run without a shell; standard output is the secret. */
  | { readonly kind: 'command'; readonly argv: readonly string[] }
  /** $CREDENTIALS_DIRECTORY/name, systemd.exec(5). */
  | { readonly kind: 'systemd'; readonly name: string }
  /** The encrypted file that `glovebox secrets` keeps. */
  | { readonly kind: 'store'; readonly name: string };

export interface CredentialPolicy {
  readonly name: string;
  /** `value`; for AWS `accessKeyId`, `secretAccessKey` and perhaps `sessionToken`. */
  readonly sources: Readonly<Record<string, CredentialSource>>;
  /** Where the gateway swaps it in. At least one. */
  readonly places: readonly CredentialPlace[];
  /** Exact hosts; when the policy names none, the hosts of the rules that name this credential. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** Globs over the canonical path; absent: every path that the rule allows. */
  readonly paths?: readonly string[];
  /** Responses of its hosts are scrubbed of it. */
  readonly scrub: boolean;
  /** How the sandbox learns the placeholder: variables by field, files whose copies carry it. */
  readonly expose: {
    readonly env: Readonly<Record<string, string>>;
    /** The host's file is shown with every secret in it replaced by its placeholder; absolute. */
    readonly files: readonly string[];
  };
  /** Beginning of the placeholder that a client's own check of the format accepts, such as `sk-ant-api03-`; absent: taken from the secret's known shapes. */
  readonly prefix?: string;
  /** Read the source again after this long. */
  readonly refreshMs?: number;
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
  /** Of the container or the vm tier. Absent: no layer says; then, for a container, `GLOVEBOX_DRIVER`, and else gVisor or QEMU. */
  readonly driver?: NamedDriver;
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
export interface CommandLineLayer extends Partial<Pick<FilesystemPolicy, 'mode'>> {
  readonly profiles?: readonly string[];
  readonly policyFile?: string;
  readonly workspace?: string;
  readonly tier?: Tier;
  /** As the policy's `driver`. */
  readonly driver?: NamedDriver;
  /** The name of an image, or a directory that begins with `/`, `./`, `../` or `~`; `host` for the host's own. */
  readonly base?: string;
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
