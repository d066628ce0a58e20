// Looks for a passed secret in what Glovebox itself writes: its output, its audit log, its state. Source: DESIGN rule "no secret reaches a log"; CVE-2025-62168.
import { spawnSync } from 'node:child_process';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('values of variables are written to no file', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.sh('test -n "$DEPLOY_TOKEN" && echo passed', {
    env: { DEPLOY_TOKEN: box.canary },
    flags: ['--env', 'DEPLOY_TOKEN', '--verbose'],
  });
  expect(result.stdout).toBe('passed\n');
  expect(result.stderr).not.toContain(box.canary);
  // No link is followed: a machine's templates, which tests share, are looked into by those of templates.
  const { stdout } = spawnSync('grep', ['-rlaF', box.canary, box.base], { encoding: 'utf8' });
  expect(stdout).toBe('');
  expectRecorded(box);
});
