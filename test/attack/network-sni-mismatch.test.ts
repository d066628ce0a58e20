// Fronts: connects to an allowed host and asks TLS for another. Source: gh-aw #62547, benchflow #1122; domain fronting.
import { expect } from 'vitest';
import { AttackBox, expectDenied, forEachTier, outcomes } from '../support/attack.ts';

// An address of a private network: refused before anything is dialled, so nothing has to answer there.
const HOST = '10.254.254.254';

forEachTier(
  'a TLS name that differs from the destination is refused before anything is dialled',
  async (tier) => {
    using box = new AttackBox(tier);
    box.policy(
      `version: 1\nnetwork:\n  allow:\n    - { host: ${HOST}, ports: [443], protocol: https, private: true }\n`,
    );
    const result = await box.python(`
hello = client_hello('evil.example.com')
parts = hello[:3] + struct.pack('>H', 20) + hello[5:25] + hello[:3] + struct.pack('>H', len(hello) - 25) + hello[25:]
attempt('direct', lambda: talk(('${HOST}', 443), hello))
attempt('two records', lambda: talk(('${HOST}', 443), parts))
attempt('proxy', lambda: connect_by_proxy('${HOST}:443', hello))
`);
    // A TLS alert (record type 21), behind the proxy's 200 where there is one.
    for (const name of ['direct', 'two records', 'proxy'])
      expect([name, outcomes(result)[name]]).toEqual([name, expect.stringContaining('\\x15\\x03')]);
    for (const entry of ['transparent', 'http-proxy'])
      expectDenied(box, { host: HOST, entry, rule: 'structural.tls-name' });
    expect(box.records().filter((record) => record.kind === 'network.summary')).toEqual([]);
  },
);
