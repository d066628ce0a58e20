// Fronts: connects to an allowed host and asks TLS for another. Source: gh-aw #62547, benchflow #1122; domain fronting.
import {
  AttackBox,
  CanaryService,
  expectDenied,
  forEachTier,
  hostLoopbackPolicy,
} from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier(
  'a TLS name that differs from the destination is refused before anything is dialled',
  async (tier) => {
    using box = new AttackBox(tier);
    await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
    box.policy(hostLoopbackPolicy(service.port, 'https'));
    const result = await box.python(`
hello = client_hello('evil.example.com')
attempt('direct', lambda: talk(('host-loopback', ${service.port}), hello))
attempt('proxy', lambda: connect_by_proxy('host-loopback:${service.port}', hello))
split = hello[:5] + hello[5:]
attempt('two records', lambda: talk(('host-loopback', ${service.port}), hello[:3] + struct.pack('>H', 20) + hello[5:25] + hello[:3] + struct.pack('>H', len(hello) - 25) + hello[25:]))
`);
    expect(result.stdout, result.stderr).toContain('direct=');
    expect(result.stdout, result.stderr).toContain('two records=');
    expect(result.stdout).not.toContain('breach');
    expect(service.connections).toBe(0);
    expectDenied(box, { host: 'host-loopback', port: service.port, rule: 'structural.tls-name' });
  },
);
