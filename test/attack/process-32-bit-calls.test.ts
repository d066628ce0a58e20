// Calls the kernel by the 32-bit gate, whose numbers mean other calls. Source: seccomp(2): "the architecture must be checked first".
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  forEachTier,
  isGuest,
  needsArch,
  needsProgram,
} from '../support/attack.ts';

forEachTier(
  'int 0x80 ends the process',
  async (tier) => {
    using box = new AttackBox(tier);
    const result = await box.run([box.compile('foreign-calls.c'), 'int80']);
    expect(result.stdout, result.stderr).toContain('trying');
    expect(result.stdout).not.toContain('int80=OK');
    // Killed by SIGSYS: the filter, not a kernel without such calls; gVisor is one, and answers before it asks the filter.
    expect(result.code).toBe(isGuest(tier) ? 1 : 128 + 31);
    expectRecorded(box);
  },
  [needsArch('x64'), needsProgram('gcc')],
);
