// Plants a git hook that runs on the user's next commit. Source: the oldest way out of a workspace (githooks(5)).
import { readdirSync } from 'node:fs';
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

const HOOKS = ['.git/hooks/pre-commit', '.git/hooks/post-checkout', '.git/hooks'];

forEachTier(
  'git hooks cannot be written, while git works',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    const before = readdirSync(path.join(box.workspace, '.git/hooks'));
    expectAllRefused(await box.tamper(HOOKS), 40);
    expect(readdirSync(path.join(box.workspace, '.git/hooks'))).toEqual(before);
    const work = await box.sh(
      'echo x > a && git add a && git -c user.name=n -c user.email=e@x commit -qm m && git log --oneline | wc -l',
    );
    expect(work.stdout.trim(), work.stderr).toBe('1');
    expectRecorded(box);
  },
  [needsProgram('git')],
);
