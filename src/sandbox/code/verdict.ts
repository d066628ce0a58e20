import path from 'node:path';
import type { Mount } from '../../drivers/contract.ts';
import type { NetworkEvent } from '../../gateway/contract.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { CodeLanguage, Execution, ExecutionError } from './contract.ts';

/** How one run of code ended, in a word. */
export type CodeStatus =
  | 'ok'
  | 'error'
  | 'timeout'
  | 'memory-limit'
  | 'process-limit'
  | 'limit'
  | 'network-denied'
  | 'file-denied'
  | 'crashed';

/** Something that the policy did not let the code do. */
export type CodeDenial =
  | {
      readonly kind: 'network';
      readonly host: string;
      /** Absent when the code got no further than asking for the name. */
      readonly port?: number;
      readonly reason: string;
      /** What would allow it. */
      readonly remedy?: string;
    }
  | { readonly kind: 'file'; readonly path: string };

export interface Evidence {
  readonly language: CodeLanguage;
  readonly execution: Execution;
  /** Limits that the sandbox ran into. */
  readonly hit: readonly LimitName[];
  /** Refusals of the gateway while the code ran. */
  readonly refused: readonly NetworkEvent[];
  /** What the sandbox could see. */
  readonly view: readonly Mount[];
}

/** Errors by number: errno(3). */
const ERRNO = { EPERM: 1, ENOENT: 2, EAGAIN: 11, ENOMEM: 12, EACCES: 13, EROFS: 30 } as const;

const FILE_REFUSALS: ReadonlySet<number> = new Set([ERRNO.EPERM, ERRNO.EACCES, ERRNO.EROFS]);

/** A limit explains more than the error it led to, a refusal more than the exception it raised. */
export function statusOf(evidence: Evidence): CodeStatus {
  const { execution, hit, language } = evidence;
  const failed = isFailure(execution);
  if (failed && (hit.includes('memory') || ranOutOfMemory(execution))) return 'memory-limit';
  // A shell and an event loop go on after a fork that failed.
  const outOfProcesses = (failed || language !== 'python') && ranOutOfProcesses(execution);
  if (hit.includes('pids') || outOfProcesses) return 'process-limit';
  if (execution.timedOut) return 'timeout';
  if (!failed) return 'ok';
  if (hit.length > 0) return 'limit';
  const kinds = new Set(denialsOf(evidence).map((denial) => denial.kind));
  if (kinds.has('network')) return 'network-denied';
  if (kinds.has('file')) return 'file-denied';
  return hasCrashed(execution) ? 'crashed' : 'error';
}

/** Each host and each path once. */
export function denialsOf({ language, execution, refused, view }: Evidence): readonly CodeDenial[] {
  const network = new Map(
    refused.map((event) => [`${event.entry === 'dns'} ${event.host} ${event.port}`, event]),
  );
  const file = language === 'bash' ? fileInShellMessage(execution, view) : refusedFile(execution.error, view);
  return [
    ...[...network.values()].map(networkDenial),
    ...(file === undefined ? [] : [{ kind: 'file', path: file } as const]),
  ];
}

function networkDenial({ entry, host, port, reason, remedy }: NetworkEvent): CodeDenial {
  return {
    kind: 'network',
    host,
    ...(entry === 'dns' ? {} : { port }),
    reason,
    ...(remedy === undefined ? {} : { remedy }),
  };
}

/** A program may end itself, and with it what its context held; that alone is no failure. */
function isFailure({ error, exitCode, contextLost }: Execution): boolean {
  return error !== undefined || (exitCode ?? (contextLost ? 1 : 0)) !== 0;
}

function hasCrashed({ contextLost, error, exitCode }: Execution): boolean {
  return contextLost && (exitCode === undefined || error !== undefined);
}

function ranOutOfMemory({ error, logs, contextLost, exitCode }: Execution): boolean {
  if (error?.name === 'MemoryError' || error?.errno === ERRNO.ENOMEM) return true;
  if (error?.name === 'RangeError' && error.value.endsWith('llocation failed')) return true;
  // V8 and bash say it and end.
  const said = contextLost && (exitCode ?? 0) !== 0 ? logs.stderr.join('') : '';
  return /heap out of memory|Allocation failed|xrealloc: cannot allocate|xmalloc: cannot allocate/.test(said);
}

/** Where processes are counted for the user and not for the sandbox, no control group says so. */
function ranOutOfProcesses({ error, logs }: Execution): boolean {
  if (error?.errno === ERRNO.EAGAIN) return true;
  return /fork: (?:retry: )?Resource temporarily unavailable|spawn \S+ EAGAIN/.test(logs.stderr.join(''));
}

/** A path of which the sandbox shows nothing was refused too, whether or not the host has it. */
function refusedFile(error: ExecutionError | undefined, view: readonly Mount[]): string | undefined {
  if (error?.errno === undefined || error.path === undefined) return undefined;
  const { errno, path: at } = error;
  const refused = FILE_REFUSALS.has(errno) || (errno === ERRNO.ENOENT && isOutside(at, view));
  return refused ? at : undefined;
}

/** Judged by the plan alone: the host's own files are not asked for a path that the code chose. */
function isOutside(at: string, view: readonly Mount[]): boolean {
  if (!path.isAbsolute(at)) return false;
  const wanted = path.normalize(at);
  const holders = view.filter(
    ({ target }) => target === '/' || wanted === target || wanted.startsWith(`${target}/`),
  );
  const nearest = holders.toSorted((one, other) => other.target.length - one.target.length)[0];
  // In a directory that is put together from single entries there is nothing else.
  return (
    nearest === undefined ||
    nearest.kind === 'hidden' ||
    (nearest.kind === 'dir' && nearest.target !== wanted)
  );
}

/** Programs of a shell have nothing but their words: `cat: /etc/shadow: Permission denied`. */
function fileInShellMessage({ logs, exitCode }: Execution, view: readonly Mount[]): string | undefined {
  if ((exitCode ?? 0) === 0) return undefined;
  const last = logs.stderr.join('').trimEnd().split('\n').at(-1) ?? '';
  const match = /(\/[^:'"]*)'?: (Permission denied|Read-only file system|No such file or directory)$/.exec(
    last,
  );
  const at = match?.[1];
  if (at === undefined) return undefined;
  return match?.[2] === 'No such file or directory' && !isOutside(at, view) ? undefined : at;
}
