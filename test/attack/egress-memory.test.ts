// Bodies that were looked at and wait for an origin that does not read. Source: CWE-770 (allocation without limits).
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { createServer, type Server } from 'node:tls';
import { expect } from 'vitest';
import { forEachTier, isMachine, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const MIB = 1_048_576;

/** Shakes hands and reads nothing; `base` holds its certificate by the time it is first dialled. */
async function deafServer(base: string): Promise<Server> {
  const [key, cert] = ['leaf.key', 'leaf.pem'].map((name) => readFileSync(path.join(base, name)));
  const server = createServer({ key, cert }, (socket) => void socket.on('error', () => undefined).pause());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

forEachTier('bodies that wait for a deaf origin stay within the room for bodies', async (tier) => {
  await using box = new EgressBox(tier, {
    allow: [{ id: 'held', host: 'held.wild.test', json: [{ path: '$.refused' }], limits: { body: '9MiB' } }],
  });
  // More than the bound on memory either way; an emulated processor encrypts a few megabytes a second.
  const bodies = isMachine(tier) ? 24 : 40;
  let server: Server | undefined;
  const sockets = new Set<Socket>();
  const dial = async (): Promise<Socket> => {
    server ??= await deafServer(box.base);
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the origin does not listen');
    const socket = connect({ host: '127.0.0.1', port: address.port, allowHalfOpen: true });
    sockets.add(socket.on('error', () => undefined));
    await once(socket, 'connect');
    return socket;
  };
  const transport = { resolver: { resolve: () => Promise.resolve(['93.184.216.40']) }, dialler: { dial } };
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers)), 50);
  try {
    const result = await box.probe(
      `
body = b'{"a":"' + b'x' * (8 << 20) + b'"}'
links, refused, early = [], 0, 0
for at in range(${bodies}):
    link = secure('held.wild.test', timeout=20)
    try: link.sendall(head('POST', '/', ('Content-Type: application/json',), 'held.wild.test', body))
    except OSError: early += 1 # it may be refused and closed before it has sent all
    else: links.append(link)
    time.sleep(0.1)
for link in links:
    link.settimeout(0.2)
    try: refused += 'limits.body' in verdict(link.recv(4096))
    except OSError: pass
report('sent', len(links) + early)
report('refused', refused + early)
`,
      { transport },
    );
    expect(outcomes(result)['sent'], result.stderr).toBe(`${bodies}`);
    expect(box.refusals()).toContainEqual(expect.objectContaining({ rule: 'held.limits.body' }));
    expect(Number(outcomes(result)['refused'])).toBeGreaterThan(bodies / 2);
    expect(Math.round((most - before) / MIB)).toBeLessThan(160);
  } finally {
    clearInterval(timer);
    for (const socket of sockets) socket.destroy();
    server?.close();
  }
});
