import { once } from 'node:events';
import { connect as connectH2, createSecureServer } from 'node:http2';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import type { RequestRecord } from '../../src/gateway/contract.ts';
import type { Broker } from '../../src/secrets/contract.ts';
import { credential, placeholder, testBroker } from '../../src/secrets/fixture.ts';
import { Closing, openConnect, secure, tlsWorld } from './client-kit.ts';
import type { Client, TlsWorld } from './client-kit.ts';
import { HONEST, policy, portOf, startBench, until } from './kit.ts';
import type { Bench } from './kit.ts';
import { readRule } from './tls-kit.ts';

// What was opened with a credential ends with it: a stream or a WebSocket would go on for hours otherwise.

const NAME = 'git.allowed.test';
const OTHER = 'llm.allowed.test';
const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

interface Origin {
  readonly port: number;
  /** Authorization of each request. */
  readonly seen: (string | undefined)[];
  /** Streams and sockets that the other side still holds open. */
  readonly open: Set<object>;
}

/** HTTP/1, HTTP/2 and WebSocket: streams that never end by themselves. */
async function startOrigin(): Promise<Origin> {
  const seen: (string | undefined)[] = [];
  const open = new Set<object>();
  const sockets = new Set<Socket>();
  const server = createSecureServer({ ...tls.world.leaf(NAME), allowHTTP1: true });
  server.on('request', (request: Http2ServerRequest, response: Http2ServerResponse) => {
    seen.push(request.headers.authorization);
    open.add(response);
    response.on('close', () => open.delete(response)).on('error', () => undefined);
    if (request.url === '/silent') return;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: first\n\n');
  });
  const web = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    seen.push(request.headers.authorization);
    web.handleUpgrade(request, socket, head, (client) => {
      open.add(client);
      client.on('close', () => open.delete(client)).on('error', () => undefined);
      client.on('message', (data: Buffer) => client.send(data.toString()));
    });
  });
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.add(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { port: portOf(server), seen, open };
}

interface World {
  readonly on: Bench;
  readonly broker: Broker;
  readonly records: RequestRecord[];
  readonly origin: Origin;
  /** What `Sandbox.network.revoke` does. */
  revoke(name: string): number;
}

const A = credential('A', { hosts: [{ host: NAME, port: 443 }] });
const B = credential('B', { hosts: [{ host: NAME, port: 443 }], places: [{ kind: 'header', name: 'x-b' }] });

const ENV = { A: 'first-secret-of-A-0123456789', B: 'secret-of-B-0123456789' };

async function world(env: Readonly<Record<string, string>> = ENV): Promise<World> {
  const origin = await startOrigin();
  const broker = await testBroker({ credentials: [A, B], hostEnv: env });
  closing.add(() => broker.dispose());
  const records: RequestRecord[] = [];
  const on = await startBench({
    policy: policy([
      readRule(NAME, { credentials: ['A', 'B'], websocket: 'allow' }),
      readRule(OTHER, { credentials: [] }),
    ]),
    origin: origin.port,
    answers: { [NAME]: [HONEST] },
    authority: tls.authority,
    roots: tls.roots,
    broker,
    onRequest: (record) => records.push(record),
    limits: { lingerMs: 300 },
  });
  closing.add(() => on.gateway.close());
  const revoke = (name: string): number => {
    broker.revoke(name);
    return on.gateway.revoke(name).closed;
  };
  return { on, broker, records, origin, revoke };
}

async function inside(w: World): Promise<Client> {
  return (await secure(await openConnect(w.on.proxy, `${NAME}:443`), NAME, tls.authority.pem)).client;
}

/** A request with these header lines on a connection of its own, as far as the first event. */
async function stream(w: World, headers: string): Promise<Client> {
  const client = await inside(w);
  client.write(`GET /events HTTP/1.1\r\nHost: ${NAME}\r\n${headers}\r\n`);
  await client.saw('first');
  return client;
}

const asA = (w: World): string => `Authorization: Bearer ${placeholder(w.broker, 'A')}\r\n`;
const asB = (w: World): string => `X-B: ${placeholder(w.broker, 'B')}\r\n`;

const REVOKED = { action: 'deny', rule: 'structural.credential.revoked', host: NAME } as const;

describe('a revoked credential ends what carries it, with a record', () => {
  test('an event stream of HTTP/1; others go on', async () => {
    const w = await world();
    const carrying = await stream(w, asA(w));
    const other = await stream(w, asB(w));
    const none = await stream(w, '');
    expect(w.origin.seen[0]).toBe('Bearer first-secret-of-A-0123456789');
    expect(w.revoke('A')).toBe(1);
    await carrying.ended();
    await until('the record', () => w.records.length === 1);
    expect(w.records).toMatchObject([{ ...REVOKED, status: 200, credential: 'A', path: '/events' }]);
    expect(w.on.events.filter(({ action }) => action === 'deny')).toMatchObject([REVOKED]);
    await until('the origin knows', () => w.origin.open.size === 2);
    expect([other.closed, none.closed]).toEqual([false, false]);
  });

  test('a stream that carries two ends with either', async () => {
    const w = await world();
    const both = await stream(w, asA(w) + asB(w));
    expect(w.revoke('B')).toBe(1);
    await both.ended();
    await until('the record', () => w.records.length === 1);
    expect(w.records).toMatchObject([{ ...REVOKED, reason: expect.stringContaining('B was revoked') }]);
    expect(w.revoke('A')).toBe(0);
  });

  test('streams of HTTP/2, one by one', async () => {
    const w = await world();
    const { socket } = await secure(await openConnect(w.on.proxy, `${NAME}:443`), NAME, tls.authority.pem, [
      'h2',
    ]);
    socket.removeAllListeners('data');
    const session = connectH2(`https://${NAME}`, { createConnection: () => socket });
    session.on('error', () => undefined);
    closing.add(() => session.destroy());
    const openStream = async (headers: object): Promise<{ closed: boolean }> => {
      const one = session.request({ ':path': '/events', ...headers });
      const state = { closed: false };
      one.on('error', () => undefined).on('close', () => (state.closed = true));
      await once(one, 'data');
      return state;
    };
    const carrying = await openStream({ authorization: `Bearer ${placeholder(w.broker, 'A')}` });
    const other = await openStream({ 'x-b': placeholder(w.broker, 'B') });
    expect(w.revoke('A')).toBe(1);
    await until('the stream ends', () => carrying.closed);
    await until('the record', () => w.records.length === 1);
    expect(w.records).toMatchObject([{ ...REVOKED, http: '2', credential: 'A' }]);
    await until('the origin knows', () => w.origin.open.size === 1);
    expect(other.closed).toBe(false);
    expect(session.destroyed).toBe(false);
  });

  test('a WebSocket', async () => {
    const w = await world();
    const { socket } = await secure(await openConnect(w.on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
    socket.removeAllListeners('data');
    const headers = { authorization: `Bearer ${placeholder(w.broker, 'A')}` };
    const client = new WebSocket(`wss://${NAME}/chat`, { createConnection: () => socket, headers });
    client.on('error', () => undefined);
    await once(client, 'open');
    client.send('hello');
    expect(String((await once(client, 'message'))[0])).toBe('hello');
    const closed = once(client, 'close');
    expect(w.revoke('A')).toBe(1);
    await closed;
    await until('the record', () => w.records.length === 1);
    expect(w.records).toMatchObject([{ ...REVOKED, status: 101, credential: 'A' }]);
    await until('the origin knows', () => w.origin.open.size === 0);
  });

  test('a request that has not been answered is refused in words', async () => {
    const w = await world();
    const client = await inside(w);
    client.write(`GET /silent HTTP/1.1\r\nHost: ${NAME}\r\n${asA(w)}\r\n`);
    await until('the origin has it', () => w.origin.seen.length === 1);
    expect(w.revoke('A')).toBe(1);
    expect(await client.saw('}\n')).toMatch(
      /^HTTP\/1\.1 403 [\s\S]*X-Glovebox-Denied: structural\.credential\.revoked/,
    );
    await until('the record', () => w.records.length === 1);
    expect(w.records).toMatchObject([{ ...REVOKED, status: 403 }]);
  });
});

test('what is over is not counted, and a second revocation finds nothing', async () => {
  const w = await world();
  const client = await stream(w, asA(w));
  client.socket.destroy();
  await until('the record', () => w.records.length === 1);
  expect(w.records).toMatchObject([{ action: 'allow', credential: 'A' }]);
  expect(w.revoke('A')).toBe(0);
});

test('a refresh ends nothing', async () => {
  const env: Record<string, string> = { ...ENV };
  const w = await world(env);
  const client = await stream(w, asA(w));
  env['A'] = 'second-secret-of-A-0123456789';
  await w.broker.refresh('A');
  const next = await stream(w, asA(w));
  expect(w.origin.seen).toEqual(['Bearer first-secret-of-A-0123456789', `Bearer ${env['A']}`]);
  next.socket.destroy();
  await until('the second is over', () => w.records.length === 1);
  expect(client.closed).toBe(false);
  expect(w.records).toMatchObject([{ action: 'allow' }]);
});
