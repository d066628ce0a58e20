// Tries to get past a deny rule: trailing dot, case, a wildcard that covers it. Source: CVE-2022-24825 (trailing dot past a deny list).
import { AttackBox, expectDenied, expectRefused, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('deny beats allow in every spelling', async (tier) => {
  using box = new AttackBox(tier);
  box.policy('version: 1\nnetwork:\n  allow: ["*.wild.test"]\n  deny: [bad.wild.test]\n');
  const result = await box.python(`
for name in ('bad.wild.test', 'BAD.wild.test', 'good.wild.test'): report(name, dns_udp('127.0.0.1', name)[0])
for authority in ('bad.wild.test.:443', 'Bad.Wild.Test:443'): report(authority, connect_by_proxy(authority).split(b'\\r\\n')[0].decode())
`);
  expectRefused(result, ['bad.wild.test', 'BAD.wild.test'], ['3']);
  expectRefused(result, ['good.wild.test'], ['0']);
  expect(result.stdout.match(/443=HTTP\/1.1 40[03]/g)).toHaveLength(2);
  expectDenied(box, { host: 'bad.wild.test', entry: 'dns' });
});
