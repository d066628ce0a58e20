// Rewrites the .git file of a linked worktree, so that git uses a directory of the attacker. Source: gitrepository-layout(5); CVE-2022-24765.
import path from 'node:path';
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import {
  AttackBox,
  expectAllRefused,
  expectRecorded,
  forEachTier,
  needsProgram,
  onHost,
} from '../support/attack.ts';

forEachTier(
  'the .git file of a worktree cannot be rewritten',
  async (tier) => {
    using box = new AttackBox(tier);
    const script =
      'git init -q . && git -c user.name=n -c user.email=e@x commit -q --allow-empty -m m && git worktree add -q ../tree';
    expect((await onHost(box, ['bash', '-c', script])).code).toBe(0);
    const tree = path.join(box.home, 'tree');
    const before = readFileSync(path.join(tree, '.git'), 'utf8');
    const result = await box.tamper([path.join(tree, '.git')], { flags: ['--workspace', tree], cwd: tree });
    expectAllRefused(result, 10);
    expect(readFileSync(path.join(tree, '.git'), 'utf8')).toBe(before);
    expectRecorded(box);
  },
  [needsProgram('git')],
);
