// Leaves a background process behind. Source: nohup and disown in agent transcripts; miners that outlive the job.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, processesWith } from '../support/attack.ts';

forEachTier('a background process ends with the command', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.sh(
    `(exec -a ${box.canary} sleep 300) & disown; nohup bash -c 'exec -a ${box.canary} sleep 300' >/dev/null 2>&1 & sleep 0.1; echo left`,
  );
  expect(result.stdout).toBe('left\n');
  expect(processesWith(box.canary)).toEqual([]);
  expectRecorded(box);
});
