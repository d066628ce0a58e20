import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { GatewayOptions, RequestRecord } from '../../src/gateway/contract.ts';
import type { NetworkRule } from '../../src/policy/contract.ts';
import { makeRecordGuard } from '../../src/sandbox/record-guard.ts';
import { HONEST, policy, rule, startBench, startOrigin, talk, until } from './kit.ts';
import type { Bench } from './kit.ts';
import { REQUESTS } from './tls-kit.ts';

// What a sandbox writes into the path, query or method of a refused request must not be written down by the gateway.

const TOKEN = ['ghp_', 'x7Qm2Kp9Vt4Zr8Bn3Hc6', 'Df1Gs5Wy0LaJe2Ui'].join('');
const KEY_ID = 'AKIAQ7XW2M4N6P3R5T2V';
const SECRET = 'correct-horse-battery-staple';

// The first request of a process loads the HTTP half; nothing here is about that.
beforeAll(() => import('../../src/gateway/http/front.ts'));

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface World {
  readonly on: Bench;
  readonly records: RequestRecord[];
  ask(line: string, host?: string): Promise<string>;
}

const guard = (): ReturnType<NonNullable<GatewayOptions['recordGuard']>> =>
  makeRecordGuard(undefined, { secrets: () => [{ name: 'K', bytes: Buffer.from(SECRET) }] });

async function world(rules: readonly NetworkRule[], recordGuard = guard): Promise<World> {
  const records: RequestRecord[] = [];
  const origin = await startOrigin(
    (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  );
  closers.push(() => origin.close());
  const on = await startBench({
    policy: policy(rules),
    origin: origin.port,
    answers: { 'plain.test': [HONEST] },
    onRequest: (record) => records.push(record),
    recordGuard,
  });
  closers.push(() => on.gateway.close());
  const ask = async (line: string, host = 'plain.test'): Promise<string> => {
    const [method = '', path = ''] = line.split(' ');
    const head = `${method} http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
    return (await talk(on.proxy, [head], 150)).bytes.toString('latin1');
  };
  return { on, records, ask };
}

const ruled = rule('plain.test', 80, {
  requests: { ...REQUESTS, http2: false, allow: [{ methods: ['GET'], path: '/v1/**' }] },
});
const written = ({ on, records }: World): string => JSON.stringify([on.events, records]);

describe.each([
  ['a token of a provider', TOKEN],
  ['a known secret', SECRET],
  ['its base64', Buffer.from(SECRET).toString('base64url')],
])('%s', (_what, value) => {
  test.each([
    ['in a path that the rule refuses', `GET /v2/${value}`, 'plain.test', '.paths'],
    ['in a path whose method the rule refuses', `POST /v1/${value}`, 'plain.test', '.methods'],
    ['in the path of a host that no rule knows', `GET /${value}?a=1`, 'evil.test', 'default.deny'],
    ['as the name of a parameter', `GET /v2/x?${value}=1`, 'plain.test', '.paths'],
    ['far down a long path', `GET /v2/${'a/'.repeat(55)}${value}`, 'plain.test', '.paths'],
    ['where the words about it are cut', `GET /v2/${'a/'.repeat(50)}${value}/end`, 'plain.test', '.paths'],
  ])('%s is in no record', async (_where, line, host, ruleId) => {
    const w = await world([ruled]);
    expect(await w.ask(line, host)).toMatch(/^HTTP\/1\.1 40[35] /);
    await until(
      'records',
      () => w.records.length === 1 && w.on.events.some(({ action }) => action === 'deny'),
    );
    expect(w.records[0]).toMatchObject({ action: 'deny', host, path: '(withheld)', queryNames: [] });
    expect(w.records[0]?.rule).toContain(ruleId);
    for (let from = 0; from + 12 <= value.length; from += 4)
      expect(written(w)).not.toContain(value.slice(from, from + 12));
  });
});

test('a key id as a method is not written down either', async () => {
  const w = await world([ruled]);
  expect(await w.ask(`${KEY_ID} /v1/x`)).toMatch(/^HTTP\/1\.1 405 /);
  await until('records', () => w.records.length === 1 && w.on.events.length === 1);
  expect(w.records).toMatchObject([{ rule: 'structural.method', method: '(withheld)' }]);
  expect(written(w)).not.toContain(KEY_ID);
});

test('what a rule that only observes would have refused is treated alike', async () => {
  const observing = {
    ...ruled,
    requests: { ...REQUESTS, http2: false, enforcement: 'observe' as const, allow: [{ path: '/v1/**' }] },
  };
  const w = await world([observing]);
  expect(await w.ask(`GET /v2/${TOKEN}`)).toMatch(/^HTTP\/1\.1 200 /);
  await until('a record', () => w.records.length === 1);
  expect(w.records).toMatchObject([{ action: 'allow', path: '(withheld)' }]);
  expect(w.records[0]?.wouldDeny).toContain('.paths: ');
  expect(written(w)).not.toContain(TOKEN.slice(0, 16));
});

test('an ordinary refusal keeps its words', async () => {
  const w = await world([ruled]);
  await w.ask('GET /v2/repos/acme');
  await until('records', () => w.records.length === 1 && w.on.events.length === 1);
  const reason = 'allow:plain.test does not allow GET "/v2/repos/acme"';
  expect(w.records).toMatchObject([{ path: '/v2/repos/acme', reason }]);
  expect(w.on.events).toMatchObject([{ reason, remedy: expect.stringContaining('path: "/v2/repos/acme"') }]);
});

test('when what looks cannot be loaded, nothing of a request is written down; what is allowed does not wait', async () => {
  let loads = 0;
  const w = await world([ruled], () => {
    loads++;
    return Promise.reject(new Error('no'));
  });
  expect(await w.ask('GET /v1/ok')).toMatch(/^HTTP\/1\.1 200 /);
  expect(w.records).toMatchObject([{ action: 'allow', path: '/v1/ok' }]);
  expect(loads).toBe(0);
  await w.ask('GET /v2/a');
  await w.ask('GET /v2/b');
  await until('records', () => w.records.length === 3);
  expect(w.records.slice(1)).toMatchObject([
    { action: 'deny', path: '(withheld)', reason: 'allow:plain.test does not allow GET "(withheld)"' },
    { action: 'deny', path: '(withheld)' },
  ]);
  expect(loads).toBe(1);
  expect(written(w)).not.toContain('/v2/');
});

test('a gateway that closes writes down first what waits', async () => {
  let load: () => void = () => undefined;
  const w = await world([ruled], async () => {
    await new Promise<void>((resolve) => (load = resolve));
    return { holdsSecret: () => false };
  });
  await w.ask('GET /v2/a');
  expect(w.records).toEqual([]);
  const closing = w.on.gateway.close();
  load();
  await closing;
  expect(w.records).toMatchObject([{ action: 'deny', path: '/v2/a' }]);
});
