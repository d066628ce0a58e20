// Uses another port of an allowed host. Source: srt #274, gh-aw #207 (CVSS 8.2): a host without a port meant every port.
import {
  AttackBox,
  CanaryService,
  expectDenied,
  expectRefused,
  forEachTier,
  hostLoopbackPolicy,
} from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('only the listed port of an allowed host is open', async (tier) => {
  using box = new AttackBox(tier);
  await using open = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  await using closed = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  box.policy(hostLoopbackPolicy(open.port, 'tcp'));
  const result = await box.python(`
report('open', socket.create_connection(('host-loopback', ${open.port}), 5).recv(8).decode())
attempt('closed', lambda: socket.create_connection(('host-loopback', ${closed.port}), 5).recv(8) or (_ for _ in ()).throw(OSError(errno.ECONNRESET, '')))
report('proxy', connect_by_proxy('host-loopback:${closed.port}').split(b'\\r\\n')[0].decode())
`);
  expectRefused(result, ['open'], ['HTTP/1.1']);
  expectRefused(result, ['closed'], ['ECONNREFUSED', 'ECONNRESET']);
  expect(result.stdout).toMatch(/proxy=HTTP\/1.1 403/);
  expect(open.connections).toBe(1);
  expect(closed.connections).toBe(0);
  expectDenied(box, { host: 'host-loopback', port: closed.port, rule: 'default.deny' });
});
