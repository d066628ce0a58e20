import { assemble } from './assemble.ts';
import { lower } from './lower.ts';
import type { SeccompOptions } from './rules.ts';
import { seccompTree } from './table.ts';

/**
 * The system-call filter of a sandbox: an array of struct sock_filter, little-endian, for `bwrap --seccomp FD` or seccomp(2).
 *
 * Another architecture and the x32 ABI end the process; unknown calls get ENOSYS, so that programs take their fallback.
 */
export function compileSeccomp(options: SeccompOptions): Uint8Array {
  return assemble(lower(seccompTree(options)));
}
