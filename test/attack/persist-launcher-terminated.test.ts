// The launcher gets SIGTERM or SIGHUP: the command must end, and the code must say so. Source: srt ends with 0 on SIGTERM.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, processesWith } from '../support/attack.ts';

forEachTier('the command ends with a terminated launcher', async (tier) => {
  using box = new AttackBox(tier);
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) {
    const run = box.start(['bash', '-c', `echo ready; exec -a ${box.canary} sleep 300`]);
    await run.said('ready');
    run.child.kill(signal);
    const result = await run.ended;
    expect(result.code === 0 && result.signal === null).toBe(false);
    expect(processesWith(box.canary)).toEqual([]);
  }
  expectRecorded(box);
  expect(box.listing()).toEqual([]);
});
