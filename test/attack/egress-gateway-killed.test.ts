// The gateway's process is killed with SIGKILL: nothing may flow on. Source: fail-open proxies; EGRESS N29.
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { AttackBox, forEachTier, until } from '../support/attack.ts';

forEachTier('a killed gateway means no traffic, also on connections that were open', async (tier) => {
  using box = new AttackBox(tier);
  let served = 0;
  const server = createServer((_, response) => {
    served++;
    response.end('x');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address: AddressInfo | string | null = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  box.policy(
    `version: 1\nnetwork:\n  allow:\n    - { host: host-loopback, ports: [${port}], protocol: http, paths: [/ok/**] }\n`,
  );
  const run = box.startPython(`
request = b'GET /ok/a HTTP/1.1\\r\\nHost: host-loopback:${port}\\r\\n\\r\\n'
address = socket.getaddrinfo('host-loopback', ${port}, type=socket.SOCK_STREAM)[0][4]
kept = socket.create_connection(address, 5)
print('ready', flush=True)
end = time.monotonic() + 20
while time.monotonic() < end:
    try: kept.sendall(request); kept.recv(4096)
    except OSError: pass
    for place in (address, ('127.0.0.1', ${port}), ('127.0.0.1', 3128)):
        try: talk(place, request, 0.2)
        except OSError: pass
`);
  try {
    await run.said('ready');
    await until(() => served > 3, 'the honest requests');
    run.child.kill('SIGKILL');
    await run.ended;
    await sleep(300);
    const before = served;
    await sleep(1_500);
    expect(served).toBe(before);
    expect(
      box.records().some((record) => record.kind === 'network.request' && record.data['action'] === 'allow'),
    ).toBe(true);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
