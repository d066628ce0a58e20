// A second sandbox, whose policy does not name the path, removes the placeholder of the first. Source: rmdir(2) drops mounts of other namespaces.
import { rmdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, outcomes } from '../support/attack.ts';

forEachTier('a denied path stays absent for a run when another removes what holds it', async (tier) => {
  using box = new AttackBox(tier);
  const run = box.startPython(
    `
print('ready', flush=True); sys.stdin.readline()
attempt('write', lambda: write_file('secret.json'))
`,
    { flags: ['--deny', 'secret.json'] },
  );
  await run.said('ready');
  const other = await box.python(`
attempt('rmdir', lambda: os.rmdir('secret.json'))
attempt('rename', lambda: os.rename('secret.json', 'moved'))
`);
  expect(Object.keys(outcomes(other))).toHaveLength(2);
  // What a person tidying up would do.
  try {
    rmdirSync(path.join(box.workspace, 'secret.json'));
  } catch {}
  run.tell('go');
  const result = await run.finish();
  expect(outcomes(result)['write'] ?? 'ended').not.toMatch(/^OK/);
  expectRecorded(box);
});
