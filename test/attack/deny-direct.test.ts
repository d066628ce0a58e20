// Reads and writes a denied file by its name. Source: agents read .env files unasked (claude-code issue reports, 2025).
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('a denied file can be neither read nor written', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('.env', box.workspace);
  const result = await box.python(
    `
attempt('read', lambda: read_file('.env'))
attempt('write', lambda: write_file('.env'))
attempt('map', lambda: os.open('.env', os.O_RDWR))
attempt('truncate', lambda: os.truncate('.env', 0))
attempt('unlink', lambda: os.unlink('.env'))
attempt('copy', lambda: __import__('shutil').copyfile('.env', 'copy'))
attempt('replace', lambda: (write_file('mine'), os.rename('mine', '.env')))
`,
    { flags: ['--deny', '.env'] },
  );
  expectRefused(
    result,
    ['read', 'write', 'map', 'truncate', 'unlink', 'copy', 'replace'],
    ['EACCES', 'EPERM', 'EROFS', 'EBUSY', 'EISDIR'],
  );
  expectUnseen(result, box.canary);
  expect(readFileSync(secret, 'utf8')).toBe(`${box.canary}\n`);
  expectRecorded(box);
});
