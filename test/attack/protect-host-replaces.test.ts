// While the sandbox runs, a person uses git: it replaces .git/config by rename. Source: git's lock files; rename(2) drops mounts of other namespaces on what it replaces.
import { readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, needsProgram, onHost } from '../support/attack.ts';

forEachTier(
  'a run ends when the host rewrites .git/config',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    const run = box.startPython(`import signal; print('ready', flush=True); signal.pause()`);
    await run.said('ready');
    // The way git writes it: a lock file beside it, then a rename.
    const config = path.join(box.workspace, '.git/config');
    const text = `${readFileSync(config, 'utf8')}[user]\n\tname = somebody\n`;
    renameSync(box.write('.git/config.lock', text), config);
    const result = await run.finish();
    expect([result.code, result.stderr]).toEqual([125, expect.stringContaining('E_MASK_LOST')]);
    expect(box.read('.git/config')).toBe(text);
    expectRecorded(box);
    expect(box.records().at(-1)?.data).toMatchObject({ cause: 'guard-lost' });
  },
  [needsProgram('git')],
);
