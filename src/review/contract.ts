/** What stands at a path. Modes are permission bits, 0 to 0o777; sizes in bytes; hashes SHA-256, hex. */
export type NodeState =
  | { readonly type: 'file'; readonly size: number; readonly sha256: string; readonly mode: number }
  | { readonly type: 'dir'; readonly mode: number }
  | { readonly type: 'symlink'; readonly target: string };

/** A file of the copy as it was when it was made: the kernel sets these, and nobody inside can. */
export interface Stamp {
  readonly ino: bigint;
  readonly size: bigint;
  readonly ctimeNs: bigint;
}

/** What the host copied, kept on the host: what comes back is compared with this and with nothing that the sandbox says. */
export interface Manifest {
  /** By path below the workspace. */
  readonly nodes: ReadonlyMap<string, { readonly state: NodeState; readonly stamp?: Stamp }>;
  /** Paths that were not copied, with the reason. */
  readonly withheld: ReadonlyMap<string, string>;
}

export type ChangeKind = 'added' | 'modified' | 'deleted' | 'mode';

/** One difference between what was copied in and what the sandbox made of it. */
export interface Change {
  /** Below the workspace. Bytes that are not UTF-8 are written as in `base/path-bytes.ts`. */
  readonly path: string;
  readonly kind: ChangeKind;
  /** Absent for `added`. */
  readonly before?: NodeState;
  /** Absent for `deleted`, and where it cannot be told because it is `blocked`. */
  readonly after?: NodeState;
  /** Number of the file of the review that holds the new content. */
  readonly content?: number;
  readonly binary?: boolean;
  /** Why it is never applied. */
  readonly blocked?: string;
  /** The rule that protects the path: it is applied only when that is asked for. */
  readonly protectedBy?: string;
  /** Why programs of the host may run or obey it without a person asking. */
  readonly runs?: string;
}

/** The changes of one sandbox, waiting for a person. */
export interface Review {
  readonly version: 1;
  readonly id: string;
  readonly sandbox: string;
  /** Absolute. */
  readonly workspace: string;
  /** Milliseconds since the epoch. */
  readonly madeAt: number;
  /** By path. */
  readonly changes: readonly Change[];
  /** There were more changes than are kept: it cannot be applied as a whole. */
  readonly truncated: boolean;
}

/** The rules of the policy for the workspace, as they were when the plan was made. Paths are absolute. */
export interface ReviewRules {
  readonly workspace: string;
  /** Paths that were found, through links too, with their rules. */
  readonly denied: ReadonlyMap<string, string>;
  readonly protectedPaths: ReadonlyMap<string, string>;
  /** Patterns, for names that come up later. */
  readonly denyGlobs: readonly RulePattern[];
  readonly protectGlobs: readonly RulePattern[];
  /** Protections that the user's own policy lifted. */
  readonly lifted: readonly string[];
}

export interface RulePattern {
  readonly id: string;
  /** Glob over absolute paths. */
  readonly pattern: string;
}
