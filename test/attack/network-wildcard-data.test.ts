// Writes data into the labels below an allowed wildcard. Source: DNS tunnels under *.amazonaws.com-like zones; microsandbox #675.
import { AttackBox, expectDenied, forEachTier } from '../support/attack.ts';
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';

forEachTier('names that look like data are refused below a wildcard', async (tier) => {
  using box = new AttackBox(tier);
  const label = randomBytes(30).toString('hex');
  const result = await box.python(`report('code', dns_udp('127.0.0.1', '${label}.wild.test'))`, {
    flags: ['--allow', '*.wild.test'],
  });
  expect(result.stdout).toMatch(/code=\((3|5), 0\)/);
  expectDenied(box, { host: `${label}.wild.test`, rule: 'structural.data-in-name' });
});
