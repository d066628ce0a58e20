// Ignores the polite signal when its time is up. Source: signal(7); "kill switches that did not kill" (agent-governance-toolkit PR 795).
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier, processesWith } from '../support/attack.ts';

forEachTier('a command that ignores SIGTERM is killed at its timeout', async (tier) => {
  using box = new AttackBox(tier);
  const script = `trap "" TERM HUP INT; echo up; (exec -a ${box.canary} sleep 300) & while :; do sleep 300; done`;
  const result = await box.sh(script, { flags: ['--timeout', '1s'] });
  expect(result.stdout).toBe('up\n');
  expect(result.code).toBe(124);
  expect(processesWith(box.canary)).toEqual([]);
  expectEvent(box, 'limit.hit', { limit: 'timeout' });
});
