// A workspace path that is a link: to the home directory, or swapped for another tree. Source: path confusion in CVE-2025-54794 (Claude Code).
import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectEvent, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a linked workspace is judged by where it leads', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('private.txt', box.home);
  for (const [name, target] of [
    ['to-home', box.home],
    ['to-root', '/'],
  ] as const) {
    const link = path.join(box.base, name);
    symlinkSync(target, link);
    const result = await box.sh('cat private.txt', { flags: ['--workspace', link] });
    expect([name, result.code]).toEqual([name, 125]);
    expectUnseen(result, box.canary);
  }
  expectEvent(box, 'run.refused');
});
