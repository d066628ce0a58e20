// Carries data out in DNS names and types. Source: CVE-2025-55284 (Claude Code, DNS exfiltration), agentcage #176 (TXT past an address filter).
import { expect } from 'vitest';
import { AttackBox, expectDenied, forEachTier } from '../support/attack.ts';

const TYPES = {
  a: 1,
  ns: 2,
  cname: 5,
  soa: 6,
  null: 10,
  mx: 15,
  txt: 16,
  aaaa: 28,
  srv: 33,
  https: 65,
  any: 255,
  caa: 257,
};

forEachTier(
  'every type of an unlisted name is answered "no such name" by the gateway itself',
  async (tier) => {
    using box = new AttackBox(tier);
    const name = `${box.canary}.tunnel.example.com`;
    const result = await box.python(
      `for kind, number in ${JSON.stringify(TYPES)}.items(): report(kind, dns_udp('127.0.0.1', '${name}', number))`,
    );
    const lines = result.stdout.trim().split('\n');
    expect(lines).toHaveLength(Object.keys(TYPES).length);
    for (const line of lines) expect(line).toMatch(/=\((3|4|5), 0\)$/);
    expectDenied(box, { host: name, entry: 'dns' });
  },
);
