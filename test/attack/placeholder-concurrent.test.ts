// A second run ends while the first goes on: its cleaning must not open the first. Source: srt removes its placeholders by name.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('protection of a running sandbox outlives the end of another', async (tier) => {
  using box = new AttackBox(tier);
  const first = box.startPython(
    `
print('ready', flush=True)
sys.stdin.readline()
attempt('envrc', lambda: write_file('.envrc'))
attempt('claude', lambda: (os.makedirs('.claude', exist_ok=True), write_file('.claude/settings.json')))
attempt('denied', lambda: write_file('deep/down/.env'))
`,
    { flags: ['--deny', 'deep/down/.env'] },
  );
  await first.said('ready');
  await box.sh('true', { flags: ['--deny', 'deep/down/.env'] });
  await box.sh('true');
  first.tell('go');
  const result = await first.finish();
  expectRefused(result, ['envrc', 'claude', 'denied'], ['EACCES', 'EPERM', 'EROFS', 'EISDIR', 'EBUSY']);
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
