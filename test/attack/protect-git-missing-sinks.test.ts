// Creates files of .git that are absent and that git would obey. Source: gitrepository-layout(5): config.worktree, info/attributes, commondir; CVE-2024-32002 family.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import {
  AttackBox,
  expectAllRefused,
  expectRecorded,
  forEachTier,
  needsProgram,
  onHost,
} from '../support/attack.ts';

const SINKS = ['.git/config.worktree', '.git/info/attributes', '.git/commondir'];

forEachTier(
  'absent files that git obeys stay absent',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    expectAllRefused(await box.tamper(SINKS), 30);
    expect(SINKS.filter((name) => existsSync(path.join(box.workspace, name)))).toEqual([]);
    const status = await onHost(box, ['git', 'status', '--porcelain']);
    expect(status.stderr + status.stdout).toBe('');
    expectRecorded(box);
  },
  [needsProgram('git')],
);
