// Asks the cloud's metadata service for credentials. Source: Capital One 2019; CVE-2021-21311; every SSRF since.
import { expect } from 'vitest';
import { AttackBox, expectDenied, forEachTier } from '../support/attack.ts';

const HOSTS = [
  '169.254.169.254',
  'metadata.google.internal',
  '100.100.100.200',
  '[fd00:ec2::254]',
  '[::ffff:169.254.169.254]',
];

forEachTier('metadata services are refused even where the policy allows them', async (tier) => {
  using box = new AttackBox(tier);
  box.policy(
    'version: 1\nnetwork:\n  allow:\n    - { host: 169.254.169.254, ports: [80], protocol: http, private: true }\n',
  );
  const script = `for host in ${JSON.stringify(HOSTS)}: report(host, talk(port_in('http_proxy'), f'GET http://{host}/latest/meta-data/ HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n'.encode()).split(b'\\r\\n')[0].decode())`;
  let result = await box.python(script);
  if (result.code === 125) {
    // Refusing such a rule outright is as good; then without it.
    box.policy('version: 1\n');
    result = await box.python(script);
  }
  const lines = result.stdout.trim().split('\n');
  expect(lines).toHaveLength(HOSTS.length);
  for (const line of lines) expect(line).toMatch(/=HTTP\/1.1 4\d\d/);
  expectDenied(box, { host: '169.254.169.254', rule: 'structural.metadata' });
});
