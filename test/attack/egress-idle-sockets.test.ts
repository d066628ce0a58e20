// Connections to origins that stay open behind requests that are over. Source: CWE-400, CWE-770; the usual limit of descriptors is 1,024.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('idle connections are bounded over all hosts', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'plain', host: '*.wild.test', ports: [80], protocol: 'http' }],
  });
  const origin = createServer((_, response) => void setTimeout(() => response.end('the origin'), 200));
  origin.keepAliveTimeout = 60_000;
  origin.listen(0, '127.0.0.1');
  await once(origin, 'listening');
  const address = origin.address();
  if (typeof address !== 'object' || address === null) throw new Error('the origin does not listen');
  const open = new Set<Socket>();
  const dial = async (): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port: address.port, allowHalfOpen: true });
    open.add(socket.on('error', () => undefined));
    socket.on('close', () => open.delete(socket));
    await once(socket, 'connect');
    return socket;
  };
  const transport = { resolver: { resolve: () => Promise.resolve(['93.184.216.40']) }, dialler: { dial } };
  await using sandbox = await box.create({ transport });
  try {
    const result = await box.probeIn(
      sandbox,
      `
answered = 0
for host in range(20):
    name = f'h{host}.wild.test'
    links = [socket.create_connection((name, 80), 10) for _ in range(40)]
    for link in links: link.sendall(f'GET / HTTP/1.1\\r\\nHost: {name}\\r\\n\\r\\n'.encode())
    for link in links:
        answered += b'200 OK' in link.recv(4096)
        link.close()
report('answered', answered)
`,
    );
    expect(outcomes(result)['answered'], result.stderr).toBe('800');
    expect(open.size).toBeLessThanOrEqual(200);
  } finally {
    for (const socket of open) socket.destroy();
    origin.close();
  }
});
