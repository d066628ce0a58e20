// Looks for a passed secret in what Glovebox itself writes: its output, its audit log, its state. Source: DESIGN rule "no secret reaches a log"; CVE-2025-62168.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
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
  const files = readdirSync(box.base, { recursive: true, encoding: 'utf8' }).map((name) =>
    path.join(box.base, name),
  );
  const holding = files.filter(
    (file) => statSync(file).isFile() && readFileSync(file, 'utf8').includes(box.canary),
  );
  expect(holding).toEqual([]);
  expectRecorded(box);
});
