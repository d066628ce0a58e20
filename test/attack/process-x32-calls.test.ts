// Calls the kernel by x32 numbers, which a filter for x86-64 may not know. Source: seccomp(2): "must check for the x32 bit".
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
  'x32 system calls end the process',
  async (tier) => {
    using box = new AttackBox(tier);
    const probe = box.compile('foreign-calls.c');
    const control = await box.run([probe, 'native']);
    expect(control.stdout).toContain('native=OK');
    const result = await box.run([probe, 'x32']);
    expect(result.stdout).not.toContain('x32=OK');
    // Killed by SIGSYS: the filter, not a kernel without such calls; gVisor is one, and answers before it asks the filter.
    expect(result.code).toBe(isGuest(tier) ? 1 : 128 + 31);
    expectRecorded(box);
  },
  [needsArch('x64'), needsProgram('gcc')],
);
