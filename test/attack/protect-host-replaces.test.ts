// While the sandbox runs, a person uses git: it replaces .git/config by rename. Source: git's lock files; rename(2) drops mounts of other namespaces on what it replaces.
import { readFileSync, renameSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, needsProgram, onHost, outcomes } from '../support/attack.ts';

forEachTier(
  '.git/config stays protected when it is rewritten on the host',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    const run = box.startPython(`
print('ready', flush=True); sys.stdin.readline()
attempt('write', lambda: write_file('.git/config', b'[core]\\n\\tfsmonitor = ./evil.sh\\n'))
`);
    await run.said('ready');
    // The way git writes it: a lock file beside it, then a rename.
    const config = path.join(box.workspace, '.git/config');
    const text = `${readFileSync(config, 'utf8')}[user]\n\tname = somebody\n`;
    renameSync(box.write('.git/config.lock', text), config);
    run.tell('go');
    const result = await run.finish();
    expect(outcomes(result)['write'] ?? 'ended').not.toMatch(/^OK/);
    expect(box.read('.git/config')).toBe(text);
    expectRecorded(box);
  },
  [needsProgram('git')],
);
