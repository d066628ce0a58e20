// Denial of service: git on the host must go on working while a sandbox runs in the same repository. Source: placeholders that git trips over (commondir).
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, needsProgram, onHost } from '../support/attack.ts';

forEachTier(
  'git works on the host while a sandbox runs',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    const run = box.start(['cat']);
    run.tell('ready');
    await run.said('ready');
    const status = await onHost(box, ['git', 'status', '--porcelain']);
    const set = await onHost(box, ['git', 'config', 'user.name', 'somebody']);
    await run.finish();
    expect([status.code, status.stderr, set.code, set.stderr]).toEqual([0, '', 0, '']);
    expectRecorded(box);
  },
  [needsProgram('git')],
);
