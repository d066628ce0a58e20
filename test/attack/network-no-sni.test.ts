// Hides the name: TLS without a server name, or no TLS at all on a TLS rule. Source: CubeSandbox #1410; SSH and tunnels over port 443.
import {
  AttackBox,
  CanaryService,
  expectDenied,
  forEachTier,
  hostLoopbackPolicy,
} from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('TLS without a name, and anything that is not TLS, is refused', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  box.policy(hostLoopbackPolicy(service.port, 'https'));
  const result = await box.python(`
for name, data in (('nameless', client_hello(None)), ('plain', b'GET / HTTP/1.0\\r\\n\\r\\n'), ('ssh', b'SSH-2.0-x\\r\\n'), ('binary', bytes(range(256)))):
    attempt(name, lambda: talk(('host-loopback', ${service.port}), data))
report('done', 1)
`);
  expect(result.stdout, result.stderr).toContain('done=1');
  expect(result.stdout).not.toContain('breach');
  expect(service.connections).toBe(0);
  expectDenied(box, { host: 'host-loopback', rule: 'structural.tls-no-name' });
  expectDenied(box, { host: 'host-loopback', rule: 'structural.tls' });
});
