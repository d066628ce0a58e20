import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { expect, test } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { originWorld } from '../gateway/tls-kit.ts';
import { AttackBox } from '../support/attack.ts';

// A service of this machine's own loopback that speaks TLS, with a certificate of an authority that only `network.trust` knows.

const world = originWorld();

async function withService(
  name: string,
  work: (port: number, seen: string[]) => Promise<void>,
): Promise<void> {
  const seen: string[] = [];
  const server = createServer(world.leaf(name), (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.end('mine');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await work((server.address() as AddressInfo).port, seen);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test('a rule that reads: the service proves localhost, programs inside see host-loopback', async () => {
  await withService('localhost', async (port, seen) => {
    using box = new AttackBox('process');
    const ca = path.join(box.base, 'mine.pem');
    writeFileSync(ca, world.caPem);
    const rule = {
      host: 'host-loopback',
      ports: [port],
      protocol: 'https',
      methods: ['GET'],
      paths: ['/ok'],
    };
    box.policy(JSON.stringify({ version: 1, network: { trust: [ca], allow: [rule] } }));
    await using sandbox = await Sandbox.create({ workspace: box.workspace, hostEnv: box.env() });
    const get = (where: string): string => `curl -sS -w ' %{http_code}' --max-time 20 ${where}`;
    const ok = await sandbox.commands.exec(['bash', '-c', get(`https://host-loopback:${port}/ok`)]);
    expect(ok).toMatchObject({ stdout: 'mine 200', stderr: '' });
    const direct = get(`--noproxy '*' https://host-loopback:${port}/ok`);
    expect((await sandbox.commands.exec(['bash', '-c', direct])).stdout).toBe('mine 200');
    const other = await sandbox.commands.exec(['bash', '-c', get(`https://host-loopback:${port}/other`)]);
    expect(other.stdout).toMatch(/ 403$/);
    expect(seen).toEqual(['GET /ok', 'GET /ok']);
  });
});

test('a rule that does not read: a program that verifies by itself asks for the name in the certificate', async () => {
  await withService('localhost', async (port, seen) => {
    using box = new AttackBox('process');
    box.policy(
      JSON.stringify({
        version: 1,
        network: { allow: [{ host: 'host-loopback', ports: [port], protocol: 'https' }] },
      }),
    );
    writeFileSync(path.join(box.workspace, 'mine.pem'), world.caPem);
    await using sandbox = await Sandbox.create({ workspace: box.workspace, hostEnv: box.env() });
    const line = `curl -sS --noproxy '*' --cacert mine.pem --max-time 20 --connect-to localhost:${port}:host-loopback:${port} https://localhost:${port}/x`;
    expect(await sandbox.commands.exec(['bash', '-c', line])).toMatchObject({ stdout: 'mine', stderr: '' });
    expect(seen).toEqual(['GET /x']);
  });
});
