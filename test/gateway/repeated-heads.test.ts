import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createScanner } from '../../src/content/dlp/scanner.ts';
import type { RequestRecord } from '../../src/gateway/contract.ts';
import type { NetworkPolicy, NetworkRule } from '../../src/policy/contract.ts';
import type { Broker } from '../../src/secrets/contract.ts';
import { credential, placeholder, testBroker } from '../../src/secrets/fixture.ts';
import { Closing, openConnect, rawServer, secure, tlsWorld } from './client-kit.ts';
import type { Client, TlsWorld } from './client-kit.ts';
import { HONEST, policy, startBench, until } from './kit.ts';
import type { Bench } from './kit.ts';
import { readRule } from './tls-kit.ts';

// The second of two equal heads on a connection is not read anew (`HeadReader`, `LastJudged`). What it is judged by besides may have
// changed meanwhile, and everything else has to be as with the first.

const NAME = 'api.allowed.test';
const CANARY = 'canary-9f27c1d0';
const SECRET = 'first-secret-of-A-0123456789';
/** The end of an answer that was scrubbed. */
const ANSWER = '\r\n2\r\nok\r\n0\r\n\r\n';
const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

interface World {
  readonly on: Bench;
  readonly broker: Broker;
  readonly records: RequestRecord[];
  /** What the origin got. */
  readonly got: string[];
  readonly inForce: NetworkPolicy;
  readonly client: Client;
  /** The same head, again. */
  readonly head: string;
}

async function world(rule: NetworkRule): Promise<World> {
  const got: string[] = [];
  const answer = (socket: Socket): void => {
    socket.on('data', (chunk: Buffer) => {
      got.push(chunk.toString('latin1'));
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  };
  const origin = await rawServer(answer, tls.world.leaf(NAME));
  closing.add(() => origin.close());
  const hosts = [{ host: NAME, port: 443 }];
  const broker = await testBroker({ credentials: [credential('A', { hosts })], hostEnv: { A: SECRET } });
  closing.add(() => broker.dispose());
  const records: RequestRecord[] = [];
  const inForce = policy([rule]);
  const on = await startBench({
    policy: inForce,
    origin: origin.port,
    answers: { [NAME]: [HONEST] },
    authority: tls.authority,
    roots: tls.roots,
    broker,
    onRequest: (record) => records.push(record),
    limits: { lingerMs: 200 },
  });
  closing.add(() => on.gateway.close());
  const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
  const token = placeholder(broker, 'A');
  const lines = [`Host: ${NAME}`, `Authorization: Bearer ${token}`, `X-Note: ${CANARY}`];
  const head = `GET /v1/x?q=1 HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
  return { on, broker, records, got, inForce, client, head };
}

const PINNED = { pin: { credential: 'A', require: true }, credentials: ['A'] } as const;
const ALLOWED = {
  action: 'allow',
  status: 200,
  path: '/v1/x',
  queryNames: ['q'],
  credential: 'A',
  pin: 'ok',
};

async function passes({ client, head }: World, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    client.write(head);
    await client.saw(ANSWER);
  }
}

test('each has a record, and the secret put in', async () => {
  const w = await world(readRule(NAME, PINNED));
  await passes(w, 3);
  await until('the records', () => w.records.length === 3);
  expect(w.records).toMatchObject([ALLOWED, ALLOWED, ALLOWED]);
  expect(w.got.filter((text) => text.includes(`Bearer ${SECRET}`))).toHaveLength(3);
});

test('pipelined in one piece they are answered one after another', async () => {
  const w = await world(readRule(NAME, PINNED));
  w.client.write(w.head.repeat(20));
  await until('the answers', () => w.client.text.split(ANSWER).length === 21);
  expect(w.got).toHaveLength(20);
});

test('one that differs by a byte is judged anew', async () => {
  const w = await world(readRule(NAME, { ...PINNED, allow: [{ methods: ['GET'], path: '/v1/x' }] }));
  await passes(w, 2);
  w.client.write(w.head.replace('/v1/x', '/v1/y'));
  expect(await w.client.saw('\r\n\r\n')).toContain(' 403 ');
  await until('the record', () => w.records.length === 3);
  expect(w.records[2]).toMatchObject({
    action: 'deny',
    rule: expect.stringContaining('.paths'),
    path: '/v1/y',
  });
  expect(w.got).toHaveLength(2);
});

test('a credential that was revoked in between is refused', async () => {
  const w = await world(readRule(NAME, PINNED));
  await passes(w, 2);
  w.broker.revoke('A');
  w.client.write(w.head);
  expect(await w.client.saw('\r\n\r\n')).toContain(' 403 ');
  await until('the record', () => w.records.length === 3);
  expect(w.records[2]).toMatchObject({ action: 'deny', rule: 'structural.credential.revoked' });
  expect(w.got).toHaveLength(2);
});

test('a budget counts each', async () => {
  const w = await world(readRule(NAME, PINNED, { budget: { requests: 2 } }));
  await passes(w, 2);
  w.client.write(w.head);
  expect(await w.client.saw('\r\n\r\n')).toContain(' 429 ');
  await until('the record', () => w.records.length === 3);
  expect(w.records[2]).toMatchObject({ action: 'deny', rule: expect.stringContaining('.budget.requests') });
  expect(w.got).toHaveLength(2);
});

test('a scanner that came in between sees it', async () => {
  const w = await world(readRule(NAME, { ...PINNED, dlp: true }));
  await passes(w, 2);
  const dlp = {
    action: 'deny',
    patterns: false,
    custom: [],
    canaries: [CANARY],
    decodeDepth: 2,
    maxInspectBytes: 1 << 20,
    uninspectable: 'deny',
    names: false,
    everywhere: false,
  } as const;
  const scanner = createScanner({ policy: dlp, secrets: () => [] });
  expect(w.on.gateway.update({ policy: w.inForce, scanner })).toEqual({ closed: 0 });
  w.client.write(w.head);
  expect(await w.client.saw('\r\n\r\n')).toContain(' 403 ');
  await until('the record', () => w.records.length === 3);
  expect(w.records[2]).toMatchObject({ action: 'deny', dlp: [{ kind: 'canary' }] });
  expect(w.got).toHaveLength(2);
});

test('a policy that says something else ends the connection before the next', async () => {
  const w = await world(readRule(NAME, PINNED));
  await passes(w, 2);
  const narrower = policy([readRule(NAME, { ...PINNED, allow: [{ path: '/v2/**' }] })]);
  expect(w.on.gateway.update({ policy: narrower })).toEqual({ closed: 1 });
  await w.client.ended();
  expect(w.on.events.filter(({ action }) => action === 'deny')).toMatchObject([
    { rule: 'structural.policy-change', host: NAME },
  ]);
  expect(w.got).toHaveLength(2);
});
