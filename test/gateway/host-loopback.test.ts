import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createServer } from 'node:https';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RequestRecord } from '../../src/gateway/contract.ts';
import type { NetworkRule } from '../../src/policy/contract.ts';
import { Client, Closing, open, openConnect, secure, socksHead, tlsWorld } from './client-kit.ts';
import type { TlsWorld } from './client-kit.ts';
import { askDns, dnsQuery } from './dns-client.ts';
import { policy, portOf, rule, startBench, until } from './kit.ts';
import type { Bench } from './kit.ts';
import { readRule, selfSigned } from './tls-kit.ts';

// A service of the host machine on its own 127.0.0.1, spoken to in TLS.

const HOST = 'host-loopback';
const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

interface Service {
  readonly port: number;
  readonly hosts: (string | undefined)[];
  /** What TLS asked for. */
  readonly names: unknown[];
}

async function service(leaf: { readonly key: string; readonly cert: string }): Promise<Service> {
  const hosts: (string | undefined)[] = [];
  const names: unknown[] = [];
  const sockets = new Set<Socket>();
  const server = createServer(leaf, (request, response) => {
    hosts.push(request.headers.host);
    response.end('mine');
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.on('secureConnection', (socket) => names.push(Reflect.get(socket, 'servername')));
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.add(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { port: portOf(server), hosts, names };
}

async function bench(one: NetworkRule, port: number): Promise<{ on: Bench; records: RequestRecord[] }> {
  const records: RequestRecord[] = [];
  const on = await startBench({
    policy: policy([one]),
    origin: port,
    authority: tls.authority,
    roots: tls.roots,
    onRequest: (record) => records.push(record),
  });
  closing.add(() => on.gateway.close());
  return { on, records };
}

const ENTRIES: readonly (readonly [string, (on: Bench, port: number) => Promise<Client>])[] = [
  ['http-proxy', (on, port) => openConnect(on.proxy, `${HOST}:${port}`)],
  [
    'socks',
    async (on, port) => {
      const client = await open(on.socks);
      client.write(socksHead(HOST, port));
      await client.saw('\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0');
      return client;
    },
  ],
  [
    'transparent',
    async (on, port) => {
      on.destination.address = (await askDns(on.dnsUdp, dnsQuery([HOST])))?.addresses[0] ?? '';
      on.destination.port = port;
      return open(on.transparent);
    },
  ],
];

const GET = (port: number): string => `GET /a HTTP/1.1\r\nHost: ${HOST}:${port}\r\nConnection: close\r\n\r\n`;

describe.each(ENTRIES)('%s', (entry, enter) => {
  test.each(['localhost', '127.0.0.1'])(
    'read, with a certificate for %s that network.trust knows',
    async (name) => {
      const mine = await service(tls.world.leaf(name));
      const { on, records } = await bench(
        readRule(HOST, { http2: false }, { ports: [mine.port] }),
        mine.port,
      );
      const { client } = await secure(await enter(on, mine.port), HOST, tls.authority.pem);
      client.write(GET(mine.port));
      expect(await client.saw('mine')).toMatch(/^HTTP\/1\.1 200/);
      expect(on.dialled).toEqual([{ address: '127.0.0.1', port: mine.port }]);
      expect(mine.names).toEqual(['localhost']);
      await until('the record', () => records.length === 1);
      expect(records).toMatchObject([{ action: 'allow', host: HOST, port: mine.port, entry, status: 200 }]);
      expect(mine.hosts).toEqual([`${HOST}:${mine.port}`]);
    },
  );

  test.each([
    ['localhost', 'localhost'],
    [HOST, HOST],
  ])('unread: the program itself verifies %s', async (certified, asked) => {
    const mine = await service(tls.world.leaf(certified));
    const { on } = await bench(rule(HOST, mine.port, { protocol: 'https' }), mine.port);
    const tunnel = await enter(on, mine.port);
    tunnel.socket.removeAllListeners('data');
    const socket = connectTls({ socket: tunnel.socket, servername: asked, ca: tls.world.caPem });
    await once(socket, 'secureConnect');
    const client = new Client(socket);
    client.write(GET(mine.port));
    expect(await client.saw('mine')).toMatch(/^HTTP\/1\.1 200/);
    expect(on.events.filter(({ action }) => action === 'deny')).toEqual([]);
  });
});

test.each([
  ['another name', () => tls.world.leaf('evil.test'), /other names/],
  ['its own signature only', () => selfSigned('localhost'), /self-signed/],
])('a certificate with %s proves nothing', async (_what, leaf, why) => {
  const mine = await service(leaf());
  const { on, records } = await bench(readRule(HOST, { http2: false }, { ports: [mine.port] }), mine.port);
  const { client } = await secure(
    await openConnect(on.proxy, `${HOST}:${mine.port}`),
    HOST,
    tls.authority.pem,
  );
  client.write(GET(mine.port));
  expect(await client.saw('}\n')).toMatch(/^HTTP\/1\.1 502/);
  await until('the record', () => records.length === 1);
  expect(records).toMatchObject([
    { action: 'deny', rule: 'structural.tls-upstream', reason: expect.stringMatching(why) },
  ]);
  expect(mine.hosts).toEqual([]);
});

test.each([
  ['another name', {}, 'api.allowed.test'],
  ['localhost where it is read', { read: true }, 'localhost'],
])('asking for %s is refused', async (_what, { read }: { read?: boolean }, asked) => {
  const mine = await service(tls.world.leaf('localhost'));
  const one =
    read === true ? readRule(HOST, {}, { ports: [mine.port] }) : rule(HOST, mine.port, { protocol: 'https' });
  const { on } = await bench(one, mine.port);
  const tunnel = await openConnect(on.proxy, `${HOST}:${mine.port}`);
  tunnel.socket.removeAllListeners('data');
  const socket = connectTls({ socket: tunnel.socket, servername: asked, rejectUnauthorized: false });
  await once(socket, 'error');
  expect(on.events).toMatchObject([{ action: 'deny', rule: 'structural.tls-name', host: HOST }]);
  expect(mine.names).toEqual([]);
});
