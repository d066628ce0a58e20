import { existsSync } from 'node:fs';
import path from 'node:path';
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
  | { readonly kind: 'network'; readonly host: string; readonly port: number; readonly reason: string }
  | { readonly kind: 'file'; readonly path: string };

export interface Evidence {
  readonly language: CodeLanguage;
  readonly execution: Execution;
  /** Limits that the sandbox ran into. */
  readonly hit: readonly LimitName[];
  /** Refusals of the gateway while the code ran. */
  readonly refused: readonly NetworkEvent[];
}

/** Errors by number: errno(3). */
const ERRNO = { EPERM: 1, ENOENT: 2, EAGAIN: 11, ENOMEM: 12, EACCES: 13, EROFS: 30 } as const;

const FILE_REFUSALS: readonly number[] = [ERRNO.EPERM, ERRNO.EACCES, ERRNO.EROFS];

/** A limit explains more than the error it led to, a refusal more than the exception it raised. */
export function statusOf(evidence: Evidence): CodeStatus {
  const { execution, hit } = evidence;
  const failed = isFailure(execution);
  if (failed && (hit.includes('memory') || ranOutOfMemory(execution.error))) return 'memory-limit';
  if (hit.includes('pids') || (failed && execution.error?.errno === ERRNO.EAGAIN)) return 'process-limit';
  if (execution.timedOut) return 'timeout';
  if (!failed) return 'ok';
  if (hit.length > 0) return 'limit';
  const kinds = denialsOf(evidence).map((denial) => denial.kind);
  if (kinds.includes('network')) return 'network-denied';
  if (kinds.includes('file')) return 'file-denied';
  return execution.contextLost && execution.exitCode === undefined ? 'crashed' : 'error';
}

export function denialsOf({ language, execution, refused }: Evidence): readonly CodeDenial[] {
  const network = refused.map(({ host, port, reason }): CodeDenial => ({
    kind: 'network',
    host,
    port,
    reason,
  }));
  const file = language === 'bash' ? fileInShellMessage(execution) : refusedFile(execution.error);
  return file === undefined ? network : [...network, { kind: 'file', path: file }];
}

function isFailure({ error, exitCode, contextLost }: Execution): boolean {
  return error !== undefined || (exitCode ?? 0) !== 0 || contextLost;
}

function ranOutOfMemory(error: ExecutionError | undefined): boolean {
  return error?.name === 'MemoryError' || error?.errno === ERRNO.ENOMEM;
}

/** A path that the host has and the sandbox says is not there was left out of its view: that is a refusal too. */
function refusedFile(error: ExecutionError | undefined): string | undefined {
  if (error?.errno === undefined || error.path === undefined) return undefined;
  const { errno, path: at } = error;
  const refused = FILE_REFUSALS.includes(errno) || (errno === ERRNO.ENOENT && isHidden(at));
  return refused ? at : undefined;
}

const isHidden = (at: string): boolean => path.isAbsolute(at) && existsSync(at);

/** Programs of a shell have nothing but their words: `cat: /etc/shadow: Permission denied`. */
function fileInShellMessage({ logs, exitCode }: Execution): string | undefined {
  if ((exitCode ?? 0) === 0) return undefined;
  const last = logs.stderr.join('').trimEnd().split('\n').at(-1) ?? '';
  const match = /(\/[^:'"]*)'?: (Permission denied|Read-only file system|No such file or directory)$/.exec(
    last,
  );
  const at = match?.[1];
  if (at === undefined) return undefined;
  return match?.[2] === 'No such file or directory' && !isHidden(at) ? undefined : at;
}
