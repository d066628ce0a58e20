// Points git at a program through its configuration. Source: core.fsmonitor, core.hooksPath, filters, aliases (git-config(1)); GHSA reports against editors and agents.
import { expect } from 'vitest';
import {
  AttackBox,
  expectAllRefused,
  expectRecorded,
  forEachTier,
  needsProgram,
  onHost,
} from '../support/attack.ts';

const SETTINGS = [
  'core.fsmonitor',
  'core.hooksPath',
  'core.sshCommand',
  'core.editor',
  'core.pager',
  'alias.st',
  'filter.x.smudge',
  'diff.external',
  'include.path',
];

forEachTier(
  'the configuration of a repository cannot be changed',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    const before = box.read('.git/config');
    const result = await box.sh(
      `for s in ${SETTINGS.join(' ')}; do git config $s ./evil.sh && echo changed; done; git config --edit; git remote add o x && echo changed; echo tried`,
    );
    expect(result.stdout).toBe('tried\n');
    expectAllRefused(await box.tamper(['.git/config']), 10);
    expect(box.read('.git/config')).toBe(before);
    expectRecorded(box);
  },
  [needsProgram('git')],
);
