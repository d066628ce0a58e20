// The launcher is killed; the next run must sweep what it left. Source: kill -9 and power loss; DESIGN rule "nothing survives".
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, processesWith, until } from '../support/attack.ts';

forEachTier('the next run sweeps what a killed one left', async (tier) => {
  using box = new AttackBox(tier);
  const run = box.start(['bash', '-c', `echo ready; exec -a ${box.canary} sleep 300`], {
    flags: ['--deny', 'x/y/.env'],
  });
  await run.said('ready');
  await until(() => processesWith(box.canary).length > 0, 'the command');
  run.child.kill('SIGKILL');
  await run.ended;
  await until(() => processesWith(box.canary).length === 0, 'the sandbox to die with its launcher');
  await box.sh('true');
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
