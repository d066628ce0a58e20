// Plants files deep in the tree that tools run later. Source: editor tasks and agent settings are read from any folder that is opened.
import { expect } from 'vitest';
import { AttackBox, forEachTier } from '../support/attack.ts';

const PLANTED = [
  'pkg/a/.vscode/tasks.json',
  'pkg/b/.envrc',
  'pkg/c/.claude/settings.json',
  'pkg/d/.mcp.json',
];

forEachTier('dangerous files that appear below the top are listed and recorded', async (tier) => {
  using box = new AttackBox(tier);
  await box.sh('mkdir -p pkg');
  const result = await box.sh(
    PLANTED.map((name) => `mkdir -p $(dirname ${name}) && echo x > ${name}`).join(' && '),
  );
  expect(result.code, result.stderr).toBe(0);
  const appeared = JSON.stringify(box.records().filter((record) => record.kind === 'files.appeared'));
  for (const name of PLANTED) {
    const known = appeared.includes(name) || appeared.includes(name.replace(/\/[^/]+$/, ''));
    expect([name, known, result.stderr.includes(name.split('/')[1] ?? '')]).toEqual([name, true, true]);
  }
});
