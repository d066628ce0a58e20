import { EXIT } from './exit-codes.ts';

interface ErrorRow {
  /** Exit code of the command line. */
  readonly exit: number;
  /** Status of the HTTP API. */
  readonly http: number;
  /** What the reader should do next, when the thrower does not know better. */
  readonly next: string;
}

const row = (http: number, next: string, exit: number = EXIT.refused): ErrorRow => ({ exit, http, next });

/** Every error code with its exit code, HTTP status and default next step. One row an error. */
export const ERRORS = {
  E_USAGE: row(400, 'Run `glovebox help` for the commands and their options.'),
  E_INTERNAL: row(500, 'This is a defect in Glovebox: report it with the command and this message.'),
  E_TIER_UNAVAILABLE: row(503, 'Run `glovebox doctor`: it names what is missing and the exact fix.'),
  E_UNSUPPORTED: row(400, 'Remove the setting, or choose a tier that supports it.'),
  E_POLICY_INVALID: row(400, 'Correct the policy; `glovebox policy check` shows every problem at once.'),
  E_POLICY_NOT_FOUND: row(404, 'Check the path, or create the file.'),
  E_POLICY_UNTRUSTED: row(403, 'Read the file, then run `glovebox policy trust`.'),
  E_POLICY_CEILING: row(403, 'Ask whoever owns the organisation policy, or ask for less.'),
  E_PROFILE_UNKNOWN: row(400, 'Run `glovebox policy profiles` for the built-in names.'),
  E_WORKSPACE_INVALID: row(400, 'Name a project directory with --workspace, or change into one.'),
  E_CWD_INVALID: row(
    400,
    'Make the directory first, or name one that is there: the path is meant inside the sandbox.',
  ),
  E_COMMAND_NOT_FOUND: row(404, 'Make the program visible with --read, or name another.', EXIT.notFound),
  E_COMMAND_NOT_EXECUTABLE: row(400, 'Make the file executable inside the sandbox.', EXIT.notExecutable),
  E_COMMAND_FAILED: row(422, 'Read the output of the command.'),
  E_SANDBOX_START: row(503, 'Run `glovebox doctor`: it checks each layer by itself.'),
  E_SANDBOX_LOST: row(500, 'Start a new sandbox; the audit log names the cause.'),
  E_SANDBOX_NOT_FOUND: row(404, 'List the living ones with `Sandbox.list()` or `glovebox list`.'),
  E_NAME_TAKEN: row(409, 'Use the sandbox that has the name, or another name.'),
  E_SANDBOX_CRASHED: row(500, 'Start a new sandbox; if it happens again, report it with this message.'),
  E_SANDBOX_CLOSED: row(409, 'Create a new sandbox.'),
  E_MASK_LOST: row(503, 'A protected path changed while the sandbox started: run again.'),
  E_LIMIT_UNAVAILABLE: row(
    503,
    'Run as a user with a delegated cgroup, or drop the name from limits.require.',
  ),
  E_LIMIT_EXCEEDED: row(429, 'Raise the limit in the policy, or use less.', EXIT.limit),
  E_TIMEOUT: row(408, 'Raise limits.timeout, or pass --timeout.', EXIT.timedOut),
  E_ABORTED: row(499, 'The caller aborted; nothing is left to do.'),
  E_PROTOCOL: row(502, 'The sandbox spoke garbage and was ended: treat its output as hostile.'),
  E_EGRESS_DENIED: row(403, 'Allow the host in the policy if the sandbox should reach it.'),
  E_CREDENTIAL_SOURCE: row(
    502,
    'Fix the source of the credential: the variable, file, command or store entry.',
  ),
  E_CREDENTIAL_INVALID: row(400, 'Give the credential one line of 8 bytes to 16 KiB.'),
  E_AUDIT_BROKEN: row(500, 'Run `glovebox audit verify`; keep the file as evidence.'),
  E_AUDIT_UNWRITABLE: row(503, 'Free disk space, or fix the permissions of the state directory.'),
  E_CODE_LANGUAGE: row(400, 'Use a base system that has the language, or another language.'),
  E_CODE_KERNEL: row(502, 'Run the code again: the context was ended and starts anew.'),
  E_PORT_TAKEN: row(409, 'Choose another host port for --publish.'),
  E_IMAGE_NAME: row(
    400,
    'Use lower-case letters, digits, ".", "_", "-" and "/", with a tag after ":" if needed.',
  ),
  E_IMAGE_NOT_FOUND: row(404, 'Run `glovebox image list`; `glovebox image pull` and `import` add to it.'),
  E_IMAGE_INVALID: row(
    400,
    'Do not use this image: fetch it again from a source you trust, or export it anew.',
  ),
  E_IMAGE_PLATFORM: row(400, 'Use an image for this machine, or name its platform with --platform.'),
  E_IMAGE_TOO_LARGE: row(413, 'Use a smaller image: these bounds keep an archive from filling the machine.'),
  E_IMAGE_DIGEST: row(
    502,
    'Try again; if it stays, somebody between you and the registry changes what it sends.',
  ),
  E_IMAGE_REGISTRY: row(502, 'Check the name of the registry and the network, then try again.'),
  E_IMAGE_UNAUTHORIZED: row(
    401,
    'Check the name; for a private image log in with your engine, then pass --auth.',
  ),
  E_IMAGE_RECIPE: row(400, 'Correct the recipe at the named place.'),
  E_IMAGE_BUILD: row(422, 'Read the output of the step above, and correct the recipe.'),
  E_IMAGE_SPACE: row(
    507,
    'Free disk space (`glovebox image prune` removes what nothing uses), then try again.',
  ),
  E_FILE_NOT_FOUND: row(404, 'Check the path: it is meant inside the sandbox.'),
  E_FILE_EXISTS: row(409, 'Choose another name, or allow it to be replaced.'),
  E_FILE_PERMISSION: row(
    403,
    'The policy or the file forbids it; `glovebox explain` shows what is writable and hidden.',
  ),
  E_FILE_NOT_DIRECTORY: row(400, 'Name a directory.'),
  E_FILE_IS_DIRECTORY: row(400, 'Name a file, or use the operation for directories.'),
  E_FILE_NOT_EMPTY: row(409, 'Remove what is inside first, or ask for it with `recursive`.'),
  E_FILE_TOO_LARGE: row(413, 'Read it as a stream or in parts; for a write, raise limits.fileSize.'),
  E_FILE_NO_SPACE: row(507, 'Remove files, or raise the size of the tree in the policy.'),
  E_FILE_BUSY: row(409, 'It is a mount of the sandbox or a running program: use another name.'),
  E_FILE_UNSUPPORTED: row(400, 'Only regular files are read and written: no pipes, sockets or devices.'),
  E_FILE_NAME: row(
    400,
    'Use an absolute path without a NUL byte, at most 4095 bytes, each name at most 255.',
  ),
  E_REVIEW_NOT_FOUND: row(404, 'List those that wait with `glovebox review list`.'),
  E_REVIEW_CONFLICT: row(
    409,
    'Save or undo what changed on the host, apply the other paths by name, or discard the review.',
  ),
  E_REVIEW_TOO_LARGE: row(413, 'Use a smaller workspace, deny what is not needed inside, or mode: direct.'),
  E_OUTPUT_GONE: row(410, 'Read from the first offset that is still there, named in the context.'),
  E_IO: row(500, 'Fix the named path and try again.'),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** Where in a file a problem stands; line and column count from 1. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What a thrower knows about a failure. */
export interface ErrorFacts {
  /** What happened, one sentence without a full stop at the end of a path. */
  readonly what: string;
  /** Why it happened, when that is not obvious. */
  readonly why?: string;
  /** What to do next; the code's default when left out. */
  readonly next?: string;
  /** Machine-readable facts; never a secret. */
  readonly context?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

const BRAND = Symbol.for('glovebox.error');

/** An error with a stable code, what happened, why, and what to do next. */
export class GloveboxError extends Error {
  readonly code: ErrorCode;
  readonly what: string;
  readonly why: string | undefined;
  readonly next: string;
  readonly context: Readonly<Record<string, unknown>>;
  readonly [BRAND] = true;

  constructor(code: ErrorCode, facts: ErrorFacts) {
    super(facts.why === undefined ? facts.what : `${facts.what}: ${facts.why}`, { cause: facts.cause });
    this.name = 'GloveboxError';
    this.code = code;
    this.what = facts.what;
    this.why = facts.why;
    this.next = facts.next ?? ERRORS[code].next;
    this.context = facts.context ?? {};
  }

  get exitCode(): number {
    return ERRORS[this.code].exit;
  }

  get httpStatus(): number {
    return ERRORS[this.code].http;
  }

  /** The same facts for machines. */
  toJSON(): Record<string, unknown> {
    return { code: this.code, what: this.what, why: this.why, next: this.next, context: this.context };
  }
}

/** True for a Glovebox error, also one from another copy of the package. */
export function isGloveboxError(value: unknown): value is GloveboxError {
  return typeof value === 'object' && value !== null && BRAND in value;
}

/** The `code` of a Node system error (`ENOENT`, …), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
