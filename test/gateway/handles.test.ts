import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createGateway } from '../../src/gateway/gateway.ts';
import type { Gateway, NetworkEvent } from '../../src/gateway/contract.ts';
import { askDns, dnsQuery } from './dns-client.ts';
import { attachTcp, HONEST, policy, rule, startOrigin, until } from './kit.ts';

let gateway: Gateway | undefined;

afterEach(() => gateway?.close());

function make(originPort: number, events: NetworkEvent[] = []): Gateway {
  gateway = createGateway({
    policy: policy([rule('db.test', 5432), rule('*.wild.test', 5432)]),
    syntheticPool: 'loopback',
    onEvent: (event) => events.push(event),
    onConnection: () => undefined,
    resolver: { resolve: () => Promise.resolve([HONEST]) },
    dialler: {
      dial: async () => {
        const socket = connect({ port: originPort, host: '127.0.0.1', allowHalfOpen: true });
        await once(socket, 'connect');
        return socket;
      },
    },
  });
  return gateway;
}

/** The raw handle inside a bound socket: what arrives when a socket is handed over as `dgram.Native`. */
function rawUdpHandle(socket: UdpSocket): object {
  const key = Object.getOwnPropertySymbols(socket).find((symbol) => symbol.description === 'state symbol');
  const state: unknown = key === undefined ? undefined : Reflect.get(socket, key);
  const handle: unknown =
    typeof state === 'object' && state !== null ? Reflect.get(state, 'handle') : undefined;
  if (typeof handle !== 'object' || handle === null) throw new Error('Node keeps the handle elsewhere now');
  return handle;
}

test.each(['udp4', 'udp6'] as const)('DNS on a raw %s handle', async (type) => {
  const socket = createSocket(type).bind(0, type === 'udp4' ? '127.0.0.1' : '::');
  await once(socket, 'listening');
  const { port } = socket.address();
  make(1).attach({ id: 0, transport: 'udp', port, role: 'dns' }, rawUdpHandle(socket));
  expect((await askDns(port, dnsQuery(['db', 'test'])))?.addresses).toEqual(['127.128.0.1']);
  expect((await askDns(port, dnsQuery(['db', 'test'], { type: 'AAAA' })))?.rcode).toBe(0);
  expect((await askDns(port, dnsQuery(['db', 'test'], { type: 'AAAA' })))?.addresses).toEqual([]);
  expect((await askDns(port, dnsQuery(['evil', 'test'])))?.rcode).toBe(3);
  expect((await askDns(port, dnsQuery(['localhost'])))?.addresses).toEqual(['127.0.0.1']);
  expect((await askDns(port, dnsQuery(['localhost'], { type: 'AAAA' })))?.addresses).toEqual([
    '00000000000000000000000000000001',
  ]);
});

test('a name, its address from the loopback pool, and a real connection to that address', async () => {
  const origin = await startOrigin((socket, _all, chunk) => socket.write(chunk));
  const events: NetworkEvent[] = [];
  const made = make(origin.port, events);
  const udp = createSocket('udp4').bind(0, '127.0.0.1');
  await once(udp, 'listening');
  made.attach({ id: 0, transport: 'udp', port: 53, role: 'dns' }, udp);
  const answer = await askDns(udp.address().port, dnsQuery(['db', 'test']));
  const address = answer?.addresses[0] ?? '';
  // The rule's port is 5432, the test's is whatever was free: the listener reports the destination as the airlock's would.
  const port = await attachTcp(made, 'transparent', { address: `::ffff:${address}`, port: 5432 }, '0.0.0.0');
  const client = connect(port, address);
  client.write('ping');
  const [data] = await once(client, 'data');
  expect(String(data)).toBe('ping');
  client.end();
  await until('record', () =>
    events.some((event) => event.entry === 'transparent' && event.address === HONEST),
  );
  await origin.close();
});
