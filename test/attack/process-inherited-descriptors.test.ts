// Uses descriptors that the launcher inherited from its caller. Source: CVE-2024-21626; shells and CI runners leak descriptors.
import { closeSync, openSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('only 0, 1 and 2 enter the sandbox', async (tier) => {
  using box = new AttackBox(tier);
  const secret = openSync(box.plant('secret.txt'), 'r');
  const root = openSync('/', 'r');
  const run = box.startPython(
    `
for fd in range(3, 256):
    try: report('open', (fd, os.readlink(f'/proc/self/fd/{fd}')))
    except OSError: pass
    try: report('content', os.pread(fd, 99, 0))
    except OSError: pass
report('searched', 256)
`,
    { stdio: ['ignore', 'pipe', 'pipe', secret, root, secret] },
  );
  closeSync(secret);
  closeSync(root);
  const result = await run.ended;
  expect(result.stdout).toBe('searched=256\n');
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
