// Git directories outside the workspace: another writable tree, a bare repository, the main repository of a linked worktree. Source: gitrepository-layout(5); a review of where git's sinks were looked for.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, needsProgram, onHost } from '../support/attack.ts';

const PLANT = (dir: string): string =>
  `echo '[core]' >> ${dir}/config; echo x > ${dir}/hooks/pre-commit; true`;

forEachTier(
  'git sinks hold in every writable tree and in bare repositories',
  async (tier) => {
    using box = new AttackBox(tier);
    const other = path.join(box.home, 'other');
    await onHost(box, ['git', 'init', '-q', other]);
    await onHost(box, ['git', 'init', '-q', '--bare', box.workspace]);
    const before = [other, box.workspace].map((dir) => configOf(dir));
    await box.sh(`${PLANT(`${other}/.git`)}; ${PLANT('.')}`, { flags: ['--write', other] });
    expect([other, box.workspace].map((dir) => configOf(dir))).toEqual(before);
    expect(existsSync(path.join(other, '.git/hooks/pre-commit'))).toBe(false);
    expect(existsSync(path.join(box.workspace, 'hooks/pre-commit'))).toBe(false);
    expectRecorded(box);
  },
  [needsProgram('git')],
);

function configOf(dir: string): string {
  const git = path.join(dir, '.git/config');
  return readFileSync(existsSync(git) ? git : path.join(dir, 'config'), 'utf8');
}
