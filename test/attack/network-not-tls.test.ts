// Speaks another protocol over a rule for TLS. Source: CubeSandbox #1410; SSH and tunnels over port 443.
import { expect } from 'vitest';
import { AttackBox, expectDenied, forEachTier, outcomes } from '../support/attack.ts';

const HOST = '10.254.254.254';

forEachTier('what is not TLS is refused on a rule for TLS, before anything is dialled', async (tier) => {
  using box = new AttackBox(tier);
  box.policy(
    `version: 1\nnetwork:\n  allow:\n    - { host: ${HOST}, ports: [443], protocol: https, private: true }\n`,
  );
  const result = await box.python(`
hello = client_hello('${HOST}')
cases = dict(plain=b'GET / HTTP/1.0\\r\\n\\r\\n', ssh=b'SSH-2.0-x\\r\\n', binary=bytes(range(256)), other=hello[:5] + b'\\2' + hello[6:], empty=hello[:3] + b'\\0\\0' + hello)
for name, data in cases.items(): attempt(name, lambda: talk(('${HOST}', 443), data))
`);
  expect(Object.keys(outcomes(result)), result.stderr).toHaveLength(5);
  expect(result.stdout).not.toContain(' 200 ');
  expectDenied(box, { host: HOST, rule: 'structural.tls' });
  expect(box.records().filter((record) => record.kind === 'network.summary')).toEqual([]);
});
