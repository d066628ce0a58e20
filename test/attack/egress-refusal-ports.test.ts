// Refusals that differ in their port alone, by the thousand. Source: CWE-779 (logging of excessive data); network-flood-of-names.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, EVIL } from '../support/egress-box.ts';

forEachTier('a walk over all ports does not fill the record', async (tier) => {
  await using box = new EgressBox(tier);
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
  // The burst, what is refilled meanwhile, and the sums.
  expect(refusals.length).toBeLessThan(2000);
});
