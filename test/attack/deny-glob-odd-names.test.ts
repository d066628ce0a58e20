// Secrets whose names break a glob: newline, bytes that are not UTF-8, leading dash, glob characters. Source: srt skips what ripgrep misses.
import { writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

const NAMES = [
  'a\nb.pem',
  '-rf.pem',
  '.hidden.pem',
  '[a].pem',
  ' .pem',
  '{x,y}.pem',
  '*.pem',
  '!not.pem',
].map((name) => Buffer.from(name));

forEachTier('a deny glob covers files with odd names', async (tier) => {
  using box = new AttackBox(tier);
  mkdirSync(path.join(box.workspace, 'sub/.dot'), { recursive: true });
  const places = [box.workspace, path.join(box.workspace, 'sub/.dot')].map((dir) => Buffer.from(`${dir}/`));
  const names = [...NAMES, Buffer.from([0xff, 0xfe, ...Buffer.from('.pem')])];
  for (const place of places)
    for (const name of names) writeFileSync(Buffer.concat([place, name]), box.canary);
  const result = await box.python(
    `
count = 0
for base, dirs, files in os.walk(b'.'):
    for name in files:
        if name.endswith(b'.pem'):
            count += 1
            attempt(repr(name), lambda: read_file(os.path.join(base, name)))
report('count', count)
`,
    { flags: ['--deny', '**/*.pem'] },
  );
  expect(result.stdout).not.toContain('=OK');
  expect(result.stdout).toMatch(/count=\d+/);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
