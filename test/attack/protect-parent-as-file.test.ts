// Makes the parent of an absent protected path something else: a file, a link, a mount-like swap. Source: mkdir races of srt's placeholders.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, outcomes } from '../support/attack.ts';
import { existsSync } from 'node:fs';
import path from 'node:path';

forEachTier(
  'an absent parent of a protected path cannot become a link to a prepared directory',
  async (tier) => {
    using box = new AttackBox(tier);
    const result = await box.python(`
os.makedirs('evil/hooks'); write_file('evil/settings.json'); write_file('evil/tasks.json')
for name in ('.claude', '.vscode', '.husky', '.cursor', '.devcontainer', '.git'):
    attempt('link ' + name, lambda: os.symlink('evil', name))
    attempt('rename ' + name, lambda: os.rename('evil', name))
report('done', 'yes')
`);
    expect(outcomes(result)['done']).toBe('yes');
    for (const name of [
      '.claude/settings.json',
      '.vscode/tasks.json',
      '.cursor/mcp.json',
      '.husky/pre-commit',
    ]) {
      expect([name, existsSync(path.join(box.workspace, name))]).toEqual([name, false]);
    }
    expectRecorded(box);
  },
);
