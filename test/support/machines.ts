import { describe, inject } from 'vitest';
import type { Sandbox } from '../../src/index.ts';
import { needsProgram } from './attack.ts';

/** An emulated machine on a busy host. */
export const PATIENCE_MS = 300_000;

const missing = inject('machineMissing') ?? needsProgram('bwrap');

/** Tests of machines, skipped with the reason where there can be none. */
export function machines(name: string, tests: () => void): void {
  const title = missing === undefined ? name : `${name} (skipped: ${missing})`;
  describe.skipIf(missing !== undefined)(title, { timeout: PATIENCE_MS }, tests);
}

export const textOf = async (box: Sandbox, script: string): Promise<string> =>
  (await box.commands.run(['bash', '-c', script])).stdout;
