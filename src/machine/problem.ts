import { GloveboxError } from '../base/errors.ts';

/** What is wrong, for programs: `context.problem` of the error. */
export type MachineProblem =
  | 'kernel-missing'
  | 'kernel-arch'
  | 'kernel-damaged'
  | 'modules-missing'
  | 'module-missing'
  | 'program-missing'
  | 'build-failed';

/** Where the setup script unpacks a kernel: never one that the host boots. */
export const KERNEL_DIR = '/usr/local/lib/glovebox/kernel';

const NEXT: Readonly<Record<MachineProblem, string>> = {
  'kernel-missing': `Run scripts/setup.sh, which unpacks Debian's cloud kernel below ${KERNEL_DIR}, or name one with GLOVEBOX_KERNEL.`,
  'kernel-arch':
    "Name a kernel of this machine's architecture with GLOVEBOX_KERNEL, or run scripts/setup.sh.",
  'kernel-damaged': `Name another kernel with GLOVEBOX_KERNEL, or remove ${KERNEL_DIR} and run scripts/setup.sh.`,
  'modules-missing': 'Name the directory lib/modules/RELEASE of the kernel with GLOVEBOX_MODULES.',
  'module-missing': "Use Debian's linux-image-cloud kernel: it has everything that a guest needs.",
  'program-missing': 'Run scripts/setup.sh.',
  'build-failed': 'Read the message above; `glovebox doctor` checks the programs that are used.',
};

/** Why no guest can be made; the reader is told what to do about it. */
export function machineError(
  problem: MachineProblem,
  facts: { readonly why: string; readonly next?: string; readonly cause?: unknown },
): GloveboxError {
  return new GloveboxError('E_TIER_UNAVAILABLE', {
    what: 'the microVM tier cannot start',
    next: NEXT[problem],
    ...facts,
    context: { problem },
  });
}
