// Refusals that differ in their port alone, by the thousand. Source: CWE-779 (logging of excessive data); network-flood-of-names.
import { expect } from 'vitest';
import { GATEWAY_LIMITS } from '../../src/gateway/limits.ts';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, EVIL } from '../support/egress-box.ts';

forEachTier('a walk over all ports does not fill the record', async (tier) => {
  await using box = new EgressBox(tier);
  const began = performance.now();
  const result = await box.probe(`
import urllib.parse
proxy = urllib.parse.urlsplit(os.environ['HTTP_PROXY'])
for first in range(1, 4001, 200):
    links = [socket.create_connection((proxy.hostname, proxy.port)) for _ in range(200)]
    for i, link in enumerate(links):
        link.sendall(f'CONNECT evil.attacker.test:{first + i} HTTP/1.1\\r\\nHost: evil.attacker.test:{first + i}\\r\\n\\r\\n'.encode())
    for link in links:
        link.recv(4096)
        link.close()
control()
`);
  expect(outcomes(result)['control'], result.stderr).toMatch(/^200/);
  const refusals = box
    .records()
    .filter(({ kind, data }) => kind === 'network.verdict' && data['action'] === 'deny');
  const counted = refusals.reduce((sum, { data }) => sum + 1 + Number(data['repeats'] ?? 0), 0);
  expect(refusals.map(({ data }) => data['host'])).toContain(EVIL);
  expect(counted).toBeGreaterThanOrEqual(4000);
  // An emulated machine takes minutes for it: the burst, what is refilled meanwhile, and now and then a sum.
  const seconds = (performance.now() - began) / 1000;
  const { refusalBurst, refusalsPerSecond } = GATEWAY_LIMITS;
  const listed = refusals.filter(({ data }) => data['repeats'] === undefined);
  expect(listed.length).toBeLessThan(refusalBurst + refusalsPerSecond * seconds + 1);
  expect(refusals.length - listed.length).toBeLessThan(seconds + 2);
});
