// Reaches a service socket of the host, such as docker.sock. Source: the best-known container escape (docker.sock mounted).
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, CanaryService, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('a unix socket of the host cannot be reached', async (tier) => {
  using box = new AttackBox(tier);
  const socket = path.join(box.base, 'docker.sock');
  await using service = await CanaryService.on({ path: socket });
  const result = await box.python(`
for path in ('${socket}', '/run/docker.sock', '/var/run/docker.sock', '/run/dbus/system_bus_socket', '/run/systemd/private'):
    attempt(path, lambda: talk(path, b'GET /version HTTP/1.0\\r\\n\\r\\n', family=socket.AF_UNIX))
attempt('run', lambda: os.listdir('/run/systemd'))
`);
  const names = [
    socket,
    '/run/docker.sock',
    '/var/run/docker.sock',
    '/run/dbus/system_bus_socket',
    '/run/systemd/private',
    'run',
  ];
  expectRefused(result, names, ['ENOENT', 'EACCES', 'EPERM']);
  expect(service.connections).toBe(0);
  expectRecorded(box);
});
