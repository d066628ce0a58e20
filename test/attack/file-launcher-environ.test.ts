// Finds the launcher's environment through /proc. Source: proc_pid_environ(5); CVE-2024-21626 shows what a stray /proc entry gives.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier("no process of /proc shows the launcher's environment", async (tier) => {
  using box = new AttackBox(tier);
  const script =
    'for p in /proc/[0-9]*; do tr "\\0" "\\n" < $p/environ; cat $p/cmdline; done 2>/dev/null; env; echo tried';
  const result = await box.sh(script, { env: { DEPLOY_TOKEN: box.canary } });
  expect(result.stdout, result.stderr).toContain('tried');
  expect(result.stdout, result.stderr).toContain('GLOVEBOX=1');
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
