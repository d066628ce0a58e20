// While the sandbox runs, a person saves the denied file anew (editors write a copy and rename it over). Source: rename(2) drops mounts of other namespaces on what it replaces.
import { renameSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

// No mount can hold this, so the promise is the next best: the run is ended at once, with its reason.
forEachTier('a run ends when the host replaces a denied file', async (tier) => {
  using box = new AttackBox(tier);
  box.write('.env', 'old\n');
  const run = box.startPython(`import signal; print('ready', flush=True); signal.pause()`, {
    flags: ['--deny', '.env'],
  });
  await run.said('ready');
  renameSync(box.plant('.env.saved', box.workspace), path.join(box.workspace, '.env'));
  const result = await run.finish();
  expect([result.code, result.stderr]).toEqual([125, expect.stringContaining('E_MASK_LOST')]);
  expectUnseen(result, box.canary);
  expectRecorded(box);
  expect(box.records().at(-1)?.data).toMatchObject({ cause: 'guard-lost' });
});
