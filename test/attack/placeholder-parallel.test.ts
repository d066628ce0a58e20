// Many runs start and end in one workspace at once: what one cleans another may be about to use. Source: TOCTOU of shared placeholders.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, isGuest } from '../support/attack.ts';

forEachTier('parallel runs in one workspace all hold, and leave nothing', async (tier) => {
  using box = new AttackBox(tier);
  // In a guest kernel new times for what is there are taken, and go nowhere; see docs/design/container.md.
  const write = isGuest(tier) ? 'echo x > .envrc || echo x > .mcp.json' : 'touch .envrc .mcp.json';
  const script = `{ ${write}; } 2>/dev/null && echo open; echo held`;
  for (let round = 0; round < 3; round++) {
    const runs = Array.from({ length: 4 }, () => box.sh(script));
    for (const result of await Promise.all(runs))
      expect([result.stdout, result.stderr, result.code]).toEqual(['held\n', '', 0]);
  }
  expect(box.listing()).toEqual([]);
  expectRecorded(box);
});
