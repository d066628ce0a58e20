import { once } from 'node:events';
import { createServer } from 'node:https';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { createScanner } from '../../src/content/dlp/scanner.ts';
import type { RequestRecord } from '../../src/gateway/contract.ts';
import type { DlpPolicy, RequestPolicy } from '../../src/policy/contract.ts';
import { credential, testBroker } from '../../src/secrets/fixture.ts';
import { Closing, openConnect, secure, tlsWorld } from './client-kit.ts';
import type { TlsWorld } from './client-kit.ts';
import { HONEST, policy, portOf, startBench, until } from './kit.ts';
import type { Bench, BenchOptions } from './kit.ts';
import { readRule } from './tls-kit.ts';

const NAME = 'api.allowed.test';
const CANARY = 'canary-7f3a9c51d2e84b06';
const DLP: DlpPolicy = {
  action: 'deny',
  patterns: true,
  custom: [],
  canaries: [CANARY],
  decodeDepth: 2,
  maxInspectBytes: 1024 * 1024,
  uninspectable: 'deny',
  names: false,
  everywhere: false,
};

const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

interface WsOrigin {
  readonly port: number;
  readonly offers: (string | undefined)[];
  readonly messages: string[];
  readonly closes: number[];
  readonly server: WebSocketServer;
}

/** A real server that would compress if it were asked to, and that echoes. */
async function wsOrigin(): Promise<WsOrigin> {
  const offers: (string | undefined)[] = [];
  const messages: string[] = [];
  const closes: number[] = [];
  const https = createServer(tls.world.leaf(NAME));
  const server = new WebSocketServer({ server: https, perMessageDeflate: { threshold: 0 } });
  server.on('connection', (socket, request) => {
    offers.push(request.headers['sec-websocket-extensions']);
    socket.on('close', (code) => closes.push(code)).on('error', () => undefined);
    socket.on('message', (data: Buffer, binary) => {
      messages.push(data.toString());
      socket.send(data, { binary });
    });
  });
  const sockets = new Set<Socket>();
  https.on('connection', (socket: Socket) => sockets.add(socket));
  https.listen(0, '127.0.0.1');
  await once(https, 'listening');
  closing.add(async () => {
    for (const socket of sockets) socket.destroy();
    https.close();
    await once(https, 'close');
  });
  return { port: portOf(https), offers, messages, closes, server };
}

interface WsBench {
  readonly on: Bench;
  readonly records: RequestRecord[];
}

async function bench(
  origin: WsOrigin,
  requests: Partial<RequestPolicy>,
  more: Partial<BenchOptions> = {},
): Promise<WsBench> {
  const records: RequestRecord[] = [];
  const on = await startBench({
    policy: policy([readRule(NAME, requests)]),
    origin: origin.port,
    answers: { [NAME]: [HONEST] },
    authority: tls.authority,
    roots: tls.roots,
    scanner: createScanner({ policy: DLP, secrets: () => [] }),
    onRequest: (record) => records.push(record),
    limits: { lingerMs: 300 },
    ...more,
  });
  closing.add(() => on.gateway.close());
  return { on, records };
}

/** A program inside: ws over TLS that ends in the gateway. */
async function connect(on: Bench): Promise<WebSocket> {
  const { socket } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
  socket.removeAllListeners('data');
  const client = new WebSocket(`wss://${NAME}/chat`, { createConnection: () => socket });
  client.on('error', () => undefined);
  closing.add(() => client.terminate());
  return client;
}

async function echoed(client: WebSocket, data: string | Buffer): Promise<string> {
  client.send(data);
  const [message] = (await once(client, 'message')) as [Buffer];
  return message.toString();
}

test('allowed: messages go both ways, and compression is what the two agree on', async () => {
  const origin = await wsOrigin();
  const { on, records } = await bench(origin, { websocket: 'allow' });
  const client = await connect(on);
  await once(client, 'open');
  expect(client.extensions).toContain('permessage-deflate');
  expect(await echoed(client, 'hello'.repeat(100))).toBe('hello'.repeat(100));
  client.close(1000);
  await once(client, 'close');
  await until('the record', () => records.length === 1);
  expect(records).toMatchObject([{ action: 'allow', status: 101, path: '/chat', method: 'GET' }]);
});

test('inspected: no compression is offered, and what is harmless passes whole', async () => {
  const origin = await wsOrigin();
  const { on, records } = await bench(origin, { websocket: 'inspect', dlp: true });
  const client = await connect(on);
  await once(client, 'open');
  expect(client.extensions).toBe('');
  expect(origin.offers).toEqual([undefined]);
  expect(await echoed(client, 'hello')).toBe('hello');
  const large = 'x'.repeat(300_000);
  expect(await echoed(client, Buffer.from(large))).toBe(large);
  client.ping('p');
  await once(client, 'pong');
  client.close(1000, 'bye');
  const [code] = (await once(client, 'close')) as [number];
  expect(code).toBe(1000);
  await until('the record', () => records.length === 1);
  expect(records).toMatchObject([{ action: 'allow', status: 101 }]);
  expect(records[0]?.upBytes).toBeGreaterThan(300_000);
});

test.each([
  ['as it is', `{"note":"${CANARY}"}`],
  ['in base64', Buffer.from(`note ${CANARY}!`).toString('base64')],
])('inspected: a message with a canary, %s, is cut with 1008 and leaves an event', async (_what, message) => {
  const origin = await wsOrigin();
  const { on, records } = await bench(origin, { websocket: 'inspect', dlp: true });
  const client = await connect(on);
  await once(client, 'open');
  expect(await echoed(client, 'before')).toBe('before');
  client.send(message);
  const [code, reason] = (await once(client, 'close')) as [number, Buffer];
  expect(code).toBe(1008);
  expect(reason.toString()).toContain('network.dlp');
  await until('the origin is told', () => origin.closes.length === 1);
  expect(origin.closes).toEqual([1008]);
  expect(origin.messages).toEqual(['before']);
  expect(on.events.filter(({ action }) => action === 'deny')).toMatchObject([
    { rule: 'network.dlp', host: NAME, port: 443, entry: 'http-proxy' },
  ]);
  await until('the record', () => records.length === 1);
  expect(records).toMatchObject([
    { action: 'deny', rule: 'network.dlp', status: 101, dlp: [{ kind: 'canary', place: 'websocket' }] },
  ]);
  expect(JSON.stringify([on.events, records])).not.toContain(CANARY);
});

test('inspected: an update takes the scanner away, and brings another, in the middle of a connection', async () => {
  const origin = await wsOrigin();
  const { on } = await bench(origin, { websocket: 'inspect', dlp: true });
  const inForce = policy([readRule(NAME, { websocket: 'inspect', dlp: true })]);
  const client = await connect(on);
  await once(client, 'open');
  expect(on.gateway.update({ policy: inForce, scanner: undefined })).toEqual({ closed: 0 });
  expect(await echoed(client, CANARY)).toBe(CANARY);
  on.gateway.update({ policy: inForce, scanner: createScanner({ policy: DLP, secrets: () => [] }) });
  on.gateway.update({ policy: inForce });
  client.send(CANARY);
  const [code] = (await once(client, 'close')) as [number];
  expect(code).toBe(1008);
});

const call = (tool: string): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool } });
const subscribe = (query: string, more: object = {}): string =>
  JSON.stringify({ id: '1', type: 'subscribe', payload: { query, ...more } });
const MCP = { mcp: { tools: ['ok'] } };
const GRAPHQL = { graphql: { types: ['query' as const], fields: ['viewer'] } };
const JSON_RULE = { json: [{ path: '$..type', match: { kind: 'prefix' as const, values: ['mcp'] } }] };

test.each<
  [what: string, requests: Partial<RequestPolicy>, passes: string, refused: string | Buffer, by: string]
>([
  ['an MCP tool', MCP, call('ok'), call('evil'), '.mcp.tools'],
  ['an MCP tool in bytes', MCP, call('ok'), Buffer.from(call('evil')), '.mcp.tools'],
  ['a message that is no MCP', MCP, call('ok'), 'tools/call evil', '.mcp'],
  ['a mutation', GRAPHQL, subscribe('{viewer{id}}'), subscribe('mutation{drop}'), '.graphql.types'],
  ['a field', GRAPHQL, '{"type":"connection_init"}', subscribe('{secrets}'), '.graphql.fields'],
  [
    'the older start',
    GRAPHQL,
    '{"type":"ping"}',
    '{"type":"start","payload":{"query":"mutation{x}"}}',
    '.graphql.types',
  ],
  ['a stored query', GRAPHQL, subscribe('{viewer}'), subscribe('{viewer}', { documentId: 'x' }), '.graphql'],
  ['a type nobody knows', GRAPHQL, subscribe('{viewer}'), '{"type":"run","payload":{}}', '.graphql'],
  ['a batch', GRAPHQL, subscribe('{viewer}'), `[${subscribe('{viewer}')}]`, '.graphql'],
  [
    'a tool of a realtime API',
    JSON_RULE,
    '{"type":"a"}',
    '{"session":{"tools":[{"type":"mcp"}]}}',
    '.json[0]',
  ],
])('a message is judged as a body is: %s', async (...[, requests, passes, refused, by]) => {
  // `allow` is refused when a policy is loaded; a policy that came another way reads the frames all the same.
  for (const websocket of ['inspect', 'allow'] as const) {
    const origin = await wsOrigin();
    const { on, records } = await bench(origin, { websocket, ...requests });
    const client = await connect(on);
    await once(client, 'open');
    expect(await echoed(client, passes)).toBe(passes);
    client.ping('no message');
    await once(client, 'pong');
    client.send(refused);
    const [code, reason] = (await once(client, 'close')) as [number, Buffer];
    expect(code).toBe(1008);
    expect(reason.toString()).toContain(`${by}: `);
    await until('the record', () => records.length === 1);
    expect(origin.messages).toEqual([passes]);
    expect(records).toMatchObject([{ action: 'deny', status: 101, rule: expect.stringContaining(by) }]);
    expect(on.events.filter(({ action }) => action === 'deny')).toHaveLength(1);
  }
});

test('a message is judged by a rule that only observes', async () => {
  const origin = await wsOrigin();
  const { on, records } = await bench(origin, { websocket: 'inspect', enforcement: 'observe', ...MCP });
  const client = await connect(on);
  await once(client, 'open');
  expect(await echoed(client, call('evil'))).toBe(call('evil'));
  client.close(1000);
  await until('the record', () => records.length === 1);
  expect(records).toMatchObject([{ action: 'allow', wouldDeny: expect.stringContaining('.mcp.tools') }]);
});

test.each(['as it is', 'in base64'])(
  'a real secret in a message, %s, is refused with an alarm, without a scanner',
  async (how) => {
    const secret = 'Zk3-9fQ_real-secret-value-0017';
    const broker = await testBroker({ credentials: [credential('API')], hostEnv: { API: secret } });
    closing.add(() => broker.dispose());
    const origin = await wsOrigin();
    const { on, records } = await bench(origin, { websocket: 'inspect' }, { broker });
    const client = await connect(on);
    await once(client, 'open');
    expect(await echoed(client, 'hello')).toBe('hello');
    client.send(`x ${how === 'as it is' ? secret : Buffer.from(secret).toString('base64')} y`);
    const [code] = (await once(client, 'close')) as [number];
    expect(code).toBe(1008);
    await until('the record', () => records.length === 1);
    expect(origin.messages).toEqual(['hello']);
    expect(records).toMatchObject([{ action: 'deny', rule: 'structural.credential.leak', alarm: true }]);
    expect(JSON.stringify([on.events, records])).not.toContain(secret);
  },
);

test('denied, the default: the upgrade is refused before anything leaves', async () => {
  const origin = await wsOrigin();
  const { on, records } = await bench(origin, {});
  const client = await connect(on);
  const [, response] = (await once(client, 'unexpected-response')) as [unknown, { statusCode: number }];
  expect(response.statusCode).toBe(403);
  expect(origin.offers).toEqual([]);
  expect(on.dialled).toEqual([]);
  await until('the record', () => records.length === 1);
  expect(records).toMatchObject([{ action: 'deny', status: 403 }]);
});
