// While the sandbox runs, a person saves the denied file anew (editors write a copy and rename it over). Source: rename(2) drops mounts of other namespaces on what it replaces.
import { renameSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a denied file stays hidden when the host replaces it by rename', async (tier) => {
  using box = new AttackBox(tier);
  box.write('.env', 'old\n');
  const run = box.startPython(
    `
print('ready', flush=True); sys.stdin.readline()
attempt('read', lambda: read_file('.env'))
attempt('write', lambda: write_file('.env'))
`,
    { flags: ['--deny', '.env'] },
  );
  await run.said('ready');
  renameSync(box.plant('.env.saved', box.workspace), path.join(box.workspace, '.env'));
  run.tell('go');
  const result = await run.finish();
  expectUnseen(result, box.canary);
  expectRefused(result, ['read', 'write'], ['EACCES', 'EPERM', 'EROFS', 'EISDIR', 'ENOENT']);
  expectRecorded(box);
});
