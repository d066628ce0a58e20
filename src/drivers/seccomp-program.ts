import { readFileSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../base/version.ts';
import type { SeccompOptions } from './seccomp/rules.ts';

/** Name of a prebuilt filter; the build writes one for each combination. */
export function filterName(options: SeccompOptions): string {
  const { arch, profile, nesting, place } = options;
  return `${arch}-${profile}${nesting ? '-nesting' : ''}${place === undefined ? '' : `-${place}`}.bpf`;
}

/**
 * The compiled filter: the one the build made, or compiled now when running from source. Compiling takes several
 * milliseconds, and its tables are the largest modules of the start.
 */
export async function seccompProgram(options: SeccompOptions): Promise<Uint8Array> {
  try {
    return readFileSync(path.join(packageRoot(), 'dist/seccomp', filterName(options)));
  } catch {
    const { compileSeccomp } = await import('./seccomp/index.ts');
    return compileSeccomp(options);
  }
}
