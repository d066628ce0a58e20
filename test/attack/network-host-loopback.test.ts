// Reaches a service on the host's 127.0.0.1 or on its network address. Source: CVE-2025-49596 (MCP Inspector), databases without a password on localhost.
import { networkInterfaces } from 'node:os';
import { expect } from 'vitest';
import { AttackBox, CanaryService, expectDenied, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier("the host's own services are out of reach by any spelling", async (tier) => {
  using box = new AttackBox(tier);
  await using loop = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  await using every = await CanaryService.on({ host: '0.0.0.0', port: 0 });
  const own = Object.values(networkInterfaces())
    .flatMap((list) => list ?? [])
    .filter((item) => !item.internal && item.family === 'IPv4')
    .map((item) => item.address);
  const hosts = [
    '127.0.0.1',
    'localhost',
    '0.0.0.0',
    '127.1',
    '::1',
    '::ffff:127.0.0.1',
    '2130706433',
    '0x7f000001',
    ...own,
  ];
  const result = await box.python(`
for host in ${JSON.stringify(hosts)}:
    for port in (${loop.port}, ${every.port}):
        bracketed = f'[{host}]' if ':' in host else host
        attempt(f'direct {host} {port}', lambda: talk((host, port), b'GET / HTTP/1.0\\r\\n\\r\\n', 2))
        attempt(f'proxy {host} {port}', lambda: connect_by_proxy(f'{bracketed}:{port}', b'GET / HTTP/1.0\\r\\n\\r\\n'))
`);
  expect(loop.connections + every.connections).toBe(0);
  expect(result.stdout, result.stderr).toContain('proxy 127.0.0.1');
  expectUnseen(result, 'breach');
  expectDenied(box, { host: '127.0.0.1', port: loop.port, rule: 'structural.loopback' });
  for (const host of own) expectDenied(box, { host, port: every.port });
});
