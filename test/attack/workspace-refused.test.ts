// Makes the whole machine or the home directory the workspace. Source: agents started in ~ or / (tj-actions style wide mounts).
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier } from '../support/attack.ts';

forEachTier('/, the home directory and system directories are no workspace', async (tier) => {
  using box = new AttackBox(tier);
  for (const dir of ['/', box.home, '/usr', '/etc', '/proc', '/dev', '/tmp/..']) {
    const result = await box.sh('touch gbx-attack', { flags: ['--workspace', dir] });
    expect([dir, result.code]).toEqual([dir, 125]);
    expect(existsSync(path.join(dir, 'gbx-attack'))).toBe(false);
  }
  expectEvent(box, 'run.refused');
});
