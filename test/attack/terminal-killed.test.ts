// The launcher dies while the terminal is in raw mode and the command has its own. Source: terminals left without echo by killed ssh sessions.
import { AttackBox, forEachTier, onTerminal, processesWith, until } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('a hangup of the terminal ends the sandbox', async (tier) => {
  using box = new AttackBox(tier);
  const seen = await onTerminal(
    box,
    `
for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
print('tried', flush=True)
os.execv('/usr/bin/python3', ['${box.canary}', '-c', 'import time; time.sleep(300)'])
`,
    { hangUpAfter: 'tried' },
  );
  expect(seen.screen).toContain('tried');
  await until(() => processesWith(box.canary).length === 0, 'the sandbox to end');
  expect(processesWith(box.canary)).toEqual([]);
});
