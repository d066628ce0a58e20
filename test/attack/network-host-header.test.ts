// Names another host in the Host header of an allowed connection. Source: CVE-2025-66479 notes on fronting; srt checks it only on request.
import { AttackBox, CanaryService, expectEvent, forEachTier, hostLoopbackPolicy } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('a Host that differs from the destination is refused', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  box.policy(hostLoopbackPolicy(service.port, 'http'));
  const result = await box.python(`
where = ('host-loopback', ${service.port})
good = f'Host: host-loopback:${service.port}\\r\\n'
for name, head in (('other', 'Host: evil.example.com\\r\\n'), ('two', good + 'Host: evil.example.com\\r\\n'), ('none', ''), ('absolute', '')):
    target = 'http://evil.example.com/' if name == 'absolute' else '/'
    report(name, talk(where, f'GET {target} HTTP/1.1\\r\\n{head or good if name == "absolute" else head}Connection: close\\r\\n\\r\\n'.encode()).split(b'\\r\\n')[0].decode())
`);
  const lines = result.stdout.trim().split('\n');
  expect(lines, result.stderr).toHaveLength(4);
  for (const line of lines) expect(line).toMatch(/=HTTP\/1.1 4\d\d/);
  expect(service.connections).toBe(0);
  expectEvent(box, 'network.verdict', { action: 'deny' });
});
