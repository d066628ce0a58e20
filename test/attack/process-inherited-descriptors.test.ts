// Uses descriptors that the launcher inherited from its caller. Source: CVE-2024-21626; shells and CI runners leak descriptors.
import { closeSync, openSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('only 0, 1 and 2 enter the sandbox', async (tier) => {
  using box = new AttackBox(tier);
  const secret = openSync(box.plant('secret.txt'), 'r');
  const root = openSync('/', 'r');
  const run = box.start(
    [
      'bash',
      '-c',
      'ls /proc/self/fd | tr "\\n" " "; cat /proc/self/fd/* <&- 2>/dev/null; for n in 3 4 5 6 7 8 9; do cat <&$n; done 2>/dev/null; ls /proc/$$/fd | tr "\\n" " "',
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe', secret, root, secret],
    },
  );
  closeSync(secret);
  closeSync(root);
  const result = await run.ended;
  // `ls` itself holds 3 while it lists; bash holds 255 for its script in some forms.
  expect(result.stdout).toMatch(/^0 1 2 3 0 1 2 (255 )?$/);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
