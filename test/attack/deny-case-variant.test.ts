// Reads a denied file by another spelling: case, trailing dots, Unicode forms. Source: GHSA on case-insensitive .cursor paths (Cursor, 2025).
import { AttackBox, expectAllRefused, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('no other spelling opens a denied file', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('.env', box.workspace);
  box.plant('caf\u00e9.key', box.workspace);
  const result = await box.python(
    `for name in ('.env', '.ENV', '.Env', '.env.', '.env ', './/.env', 'cafe\\u0301.key', 'caf\\u00e9.key'): attempt(ascii(name), lambda: read_file(name))`,
    { flags: ['--deny', '.env', '--deny', '*.key'] },
  );
  expectAllRefused(result, 8);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
