// Makes a temporary workspace that does not go away: shut directories, odd names, paths beyond PATH_MAX. Source: rm(1) and its like give up there.
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { AttackBox, forEachTier, policyTier, PYTHON } from '../support/attack.ts';
import { create, expectAllGone, Script } from '../support/sdk.ts';

const TRAPS = `
import os
os.makedirs(b'odd-\\xff\\xfe\\n/\\x80'); open(b'odd-\\xff\\xfe\\n/file', 'w').close()
os.symlink('/', 'link'); os.mkfifo('fifo')
os.makedirs('shut/inner'); open('shut/inner/file', 'w').close()
for d in ('shut/inner', 'shut'): os.chmod(d, 0)
os.mkdir('deep'); deep = os.open('deep', os.O_RDONLY); os.fchdir(deep)
for _ in range(40): os.mkdir('d' * 200); os.chdir('d' * 200)
open('file', 'w').close()
`;

forEachTier('a temporary workspace is gone whatever was made of it', async (tier) => {
  using box = new AttackBox(tier);
  const sandbox = await Sandbox.create({ tier: policyTier(tier), temporary: true, hostEnv: box.env() });
  const { workspace } = await sandbox.getInfo();
  expect((await sandbox.commands.run([PYTHON, '-c', TRAPS])).exitCode).toBe(0);
  const { receipt } = await sandbox.kill();
  expect(receipt.items).toContainEqual({ kind: 'directory', name: workspace, gone: true });
  expect([receipt.complete, existsSync(workspace)]).toEqual([true, false]);
});

forEachTier('one of a dead owner does not stand in the way of other ends', async (tier) => {
  using box = new AttackBox(tier);
  using dead = new Script(
    box,
    policyTier(tier),
    `const box = await Sandbox.create({ tier: options.tier, temporary: true });
     await box.commands.run(['${PYTHON}', '-c', ${JSON.stringify(TRAPS)}]);
     say((await box.getInfo()).workspace);
     setTimeout(() => undefined, 60_000);`,
  );
  const left = await dead.next();
  dead.child.kill('SIGKILL');
  await dead.ended;
  const sandbox = await create(box, { tier: policyTier(tier) });
  expect((await sandbox.kill()).receipt.complete).toBe(true);
  expect(existsSync(String(left))).toBe(false);
  await expectAllGone(box);
});
