// Questions by the thousand, answered at once. Source: CWE-779 (logging of excessive data); DESIGN §1.8.
import { expect } from 'vitest';
import { GATEWAY_LIMITS } from '../../src/gateway/limits.ts';
import { forEachTier, isMachine, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a flood of questions does not fill the record', async (tier) => {
  await using box = new EgressBox(tier, { network: { ask: { timeout: '30s', pending: 4 } } });
  const questions = isMachine(tier) ? 800 : 6000;
  const began = Date.now();
  const result = await box.probe(
    `
import urllib.parse
proxy = urllib.parse.urlsplit(os.environ['HTTP_PROXY'])
for first in range(1, ${questions + 1}, 200):
    links = []
    for place in (f'evil.attacker.test:{first + i}' for i in range(200)):
        links.append(socket.create_connection((proxy.hostname, proxy.port)))
        links[-1].sendall(f'CONNECT {place} HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n'.encode())
    for link in links:
        link.recv(4096)
        link.close()
control()
`,
    { onAsk: () => Promise.resolve('deny') },
  );
  const seconds = (Date.now() - began) / 1000;
  expect(outcomes(result)['control'], result.stderr).toMatch(/^200/);
  const asked = box.records().filter(({ kind }) => kind === 'network.asked');
  const counted = asked.reduce((sum, { data }) => sum + 1 + Number(data['repeats'] ?? 0), 0);
  expect(counted).toBe(questions);
  const { recordBurst, recordsPerSecond, foldKeys } = GATEWAY_LIMITS;
  // As many as may be at once, then a rate; those beyond it become one, or a few, each second.
  expect(asked.length).toBeLessThanOrEqual(recordBurst + seconds * (recordsPerSecond + foldKeys));
});

// Source: MITRE ATT&CK T1621 (a person is asked until they say yes).
forEachTier('who has said no is not asked again, and nobody is asked without end', async (tier) => {
  await using box = new EgressBox(tier, { network: { ask: { timeout: '30s', pending: 4 } } });
  const asked: string[] = [];
  const result = await box.probe(
    `
import urllib.parse
proxy = urllib.parse.urlsplit(os.environ['HTTP_PROXY'])
def knock(name, port):
    with socket.create_connection((proxy.hostname, proxy.port)) as link:
        link.sendall(f'CONNECT evil.attacker.test:{port} HTTP/1.1\\r\\nHost: evil.attacker.test:{port}\\r\\n\\r\\n'.encode())
        show(name, drain(link))
for at in range(20):
    knock(f'again{at}', 443)
for port in range(1000, 1100):
    knock(f'port{port}', port)
control()
`,
    {
      onAsk: ({ host, port }) => {
        asked.push(`${host}:${port}`);
        return Promise.resolve('deny');
      },
    },
  );
  const names = [
    ...Array.from({ length: 20 }, (_, at) => `again${at}`),
    ...Array.from({ length: 100 }, (_, at) => `port${1000 + at}`),
  ];
  box.expectHeld(result, Object.fromEntries(names.map((name) => [name, '403 default.deny'])));
  expect(asked.filter((place) => place.endsWith(':443'))).toHaveLength(1);
  expect(asked).toHaveLength(60);
  const answers = box.records().filter(({ kind }) => kind === 'network.asked');
  expect(answers.filter(({ data }) => data['answer'] === 'deny').length).toBeGreaterThan(0);
  expect(answers.filter(({ data }) => data['answer'] === 'full').length).toBeGreaterThan(0);
});
