// The sandbox plants programs that the next launch would run from the PATH. Source: node_modules/.bin stands first in the PATH of every npm script.
import { chmodSync, existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, forEachTier } from '../support/attack.ts';

forEachTier('programs of the workspace are never run by the launcher', async (tier) => {
  using box = new AttackBox(tier);
  const evidence = path.join(box.base, 'ran-on-the-host');
  const names = [
    'bwrap',
    'git',
    'unshare',
    'sh',
    'bash',
    'env',
    'ip',
    'getent',
    'newuidmap',
    'sysctl',
    'glovebox-agent',
    'python3',
    'node',
  ];
  for (const name of names)
    chmodSync(
      box.write(`node_modules/.bin/${name}`, `#!/bin/sh\necho ${name} >> ${evidence}\nexit 1\n`),
      0o755,
    );
  const dirs = `${box.workspace}/node_modules/.bin:.:node_modules/.bin`;
  const result = await box.run(['/bin/echo', 'inside'], {
    env: { PATH: `${dirs}:${process.env['PATH'] ?? ''}` },
  });
  expect(result.stdout).toBe('inside\n');
  expect(existsSync(evidence)).toBe(false);
});
