// Reads credential files of the home directory. Source: the search lists of credential stealers (Shai-Hulud, 2025).
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';

const FILES = [
  '.aws/credentials',
  '.netrc',
  '.config/gh/hosts.yml',
  '.docker/config.json',
  '.kube/config',
  '.npmrc',
  '.pypirc',
];

forEachTier('credential files of the home directory are not there', async (tier) => {
  using box = new AttackBox(tier);
  const planted = FILES.map((name) => box.plant(name, box.home));
  const names = [...planted, ...FILES.map((name) => `"$HOME/${name}"`)];
  const result = await box.sh(`for f in ${names.join(' ')}; do cat "$f" || echo refused; done`);
  expect(result.stdout).toBe('refused\n'.repeat(names.length));
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
