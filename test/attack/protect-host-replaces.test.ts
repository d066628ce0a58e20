// While the sandbox runs, a person uses git: it replaces .git/config by rename. Source: git's lock files; rename(2) drops mounts of other namespaces on what it replaces.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, needsProgram, onHost, outcomes } from '../support/attack.ts';

forEachTier(
  '.git/config stays protected when git on the host rewrites it',
  async (tier) => {
    using box = new AttackBox(tier);
    await onHost(box, ['git', 'init', '-q', '.']);
    const run = box.startPython(`
print('ready', flush=True); sys.stdin.readline()
attempt('write', lambda: write_file('.git/config', b'[core]\\n\\tfsmonitor = ./evil.sh\\n'))
`);
    await run.said('ready');
    await onHost(box, ['git', 'config', 'user.name', 'somebody']);
    run.tell('go');
    const result = await run.finish();
    expect(box.read('.git/config')).toContain('somebody');
    expect(box.read('.git/config')).not.toContain('evil');
    expect(outcomes(result)['write'] ?? 'ended').not.toMatch(/^OK/);
    expectRecorded(box);
  },
  [needsProgram('git')],
);
