// Dumps core: the host's handler would run on a file of the sandbox's making. Source: core(5); CVE-2022-0492 and apport bugs use core_pattern pipes.
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('a crash writes no core file', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.sh(
    "ulimit -c unlimited 2>/dev/null; ulimit -c; bash -c 'kill -SEGV $$'; ls | grep core; echo tried",
  );
  expect(result.stdout).toBe('0\ntried\n');
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
