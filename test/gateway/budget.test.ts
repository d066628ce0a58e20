import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { Budgets } from '../../src/gateway/budgets.ts';
import type { Verdict } from '../../src/gateway/contract.ts';
import type { NetworkBudget, NetworkRule } from '../../src/policy/contract.ts';
import { clientHello } from './hello.ts';
import { Closing, connectHead, open, openConnect, rawServer } from './client-kit.ts';
import { HONEST, policy, rule, startBench, until } from './kit.ts';
import type { Bench, BenchOptions } from './kit.ts';

const TCP = 'db.allowed.test';
const NAME = 'api.allowed.test';
const PLAIN = 'plain.allowed.test';

const closing = new Closing();
afterEach(() => closing.all());

async function bench(rules: readonly NetworkRule[], more: Partial<BenchOptions> = {}): Promise<Bench> {
  const origin = await rawServer((socket: Socket) => {
    socket.on('data', (chunk: Buffer) =>
      socket.write(chunk.includes('HTTP/1.1') ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' : chunk),
    );
    socket.on('end', () => socket.end());
  });
  const on = await startBench({
    policy: policy(rules),
    origin: origin.port,
    answers: { [TCP]: [HONEST], [NAME]: [HONEST], [PLAIN]: [HONEST] },
    limits: { lingerMs: 200 },
    ...more,
  });
  closing.add(async () => {
    await on.gateway.close();
    await origin.close();
  });
  return on;
}

async function connectStatus(on: Bench, authority: string): Promise<string> {
  const client = await open(on.proxy);
  client.write(connectHead(authority));
  const status = (await client.saw('\r\n\r\n')).slice(9, 12);
  client.socket.destroy();
  return status;
}

const ask = async (on: Bench, target = '/', host = PLAIN): Promise<string> => {
  const client = await open(on.proxy);
  client.write(`GET http://${host}${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  const status = (await client.saw('\r\n\r\n')).slice(9, 12);
  client.socket.destroy();
  return status;
};

const denials = (on: Bench): string[] =>
  on.events.filter(({ action }) => action === 'deny').map(({ rule: by }) => by);

const budgeted = (budget: NetworkBudget): Partial<NetworkRule> => ({ budget, id: 'r' });

describe('opaque connections', () => {
  test.each([
    ['tcp', `${TCP}:5432`, 5432, ''],
    ['https', `${NAME}:443`, 443, clientHello({ sni: NAME })],
  ])(
    '%s: so many at once, and a place is free again when one ends',
    async (_what, authority, port, first) => {
      const host = authority.split(':')[0] ?? '';
      const on = await bench([rule(host, port, budgeted({ concurrency: 2 }))]);
      const one = await openConnect(on.proxy, authority);
      const two = await openConnect(on.proxy, authority);
      one.write(first);
      two.write(first);
      expect(await connectStatus(on, authority)).toBe('429');
      one.socket.destroy();
      await until('one has ended', () => on.summaries.length === 1);
      const three = await openConnect(on.proxy, authority);
      expect(await connectStatus(on, authority)).toBe('429');
      expect(denials(on)[0]).toBe('r.budget.concurrency');
      three.socket.destroy();
      two.socket.destroy();
    },
  );

  test('so many in a minute, with those of the whole', async () => {
    const on = await bench([rule(TCP, 5432, budgeted({ requestsPerMinute: 2 })), rule('b.test', 5432)], {
      policy: policy([rule(TCP, 5432, budgeted({ requestsPerMinute: 2 })), rule('b.test', 5432)], [], {
        requestsPerMinute: 3,
      }),
    });
    const statuses = [];
    for (const host of [TCP, TCP, TCP, 'b.test', 'b.test'])
      statuses.push(await connectStatus(on, `${host}:5432`));
    expect(statuses).toEqual(['200', '200', '429', '200', '429']);
    expect(denials(on)).toEqual(['r.budget.requestsPerMinute', 'network.budget.requestsPerMinute']);
  });

  test('a connection that fails gives its place back', async () => {
    const on = await bench([rule(TCP, 5432, budgeted({ concurrency: 1 }))], { dialFails: [HONEST] });
    expect(await connectStatus(on, `${TCP}:5432`)).toBe('502');
    expect(await connectStatus(on, `${TCP}:5432`)).toBe('502');
    expect(denials(on)).toEqual([]);
  });
});

test('B12: refused requests count in the minute, so that probing has a rate', async () => {
  const on = await bench([rule(PLAIN, 80)], {
    policy: policy([rule(PLAIN, 80)], [], { requestsPerMinute: 5 }),
  });
  expect(await ask(on)).toBe('200');
  for (let i = 0; i < 3; i++) expect(await ask(on, '/', `guess${i}.test`)).toBe('403');
  expect(await ask(on)).toBe('200');
  expect(await ask(on)).toBe('429');
  expect(denials(on).filter((by) => by === 'default.deny')).toHaveLength(3);
});

describe('over the budget of the whole', () => {
  const whole = (overBudget: 'pause' | 'refuse', requests: number): BenchOptions['policy'] => ({
    ...policy([rule(PLAIN, 80)], [], { requests }),
    overBudget,
  });

  test('pause: told once for each policy, besides the refusal', async () => {
    const told: Verdict[] = [];
    const on = await bench([], { policy: whole('pause', 1), onOverBudget: (verdict) => told.push(verdict) });
    expect([await ask(on), await ask(on), await ask(on)]).toEqual(['200', '429', '429']);
    expect(told).toMatchObject([{ action: 'deny', rule: 'network.budget.requests' }]);
    on.gateway.update({ policy: whole('pause', 2) });
    expect([await ask(on), await ask(on)]).toEqual(['200', '429']);
    expect(told).toHaveLength(2);
    expect(denials(on)).toContain('network.budget.requests');
  });

  test('refuse, or the budget of a rule: nobody is told', async () => {
    const told: Verdict[] = [];
    const onOverBudget = (verdict: Verdict): unknown => told.push(verdict);
    const refuses = await bench([], { policy: whole('refuse', 1), onOverBudget });
    expect([await ask(refuses), await ask(refuses)]).toEqual(['200', '429']);
    const one = policy([rule(PLAIN, 80, budgeted({ requests: 1 }))]);
    const ofRule = await bench([], { policy: { ...one, overBudget: 'pause' }, onOverBudget });
    expect([await ask(ofRule), await ask(ofRule)]).toEqual(['200', '429']);
    expect(told).toEqual([]);
  });

  test('bytes of a tunnel', async () => {
    const told: Verdict[] = [];
    const on = await bench([], {
      policy: { ...policy([rule(TCP, 5432)], [], { uploadBytes: 10 }), overBudget: 'pause' },
      onOverBudget: (verdict) => told.push(verdict),
    });
    const client = await openConnect(on.proxy, `${TCP}:5432`);
    client.write('0123456789');
    await client.saw('0123456789');
    client.write('x');
    await client.ended();
    await until('told', () => told.length === 1);
    expect(told[0]?.rule).toBe('network.budget.upload');
    expect(on.summaries).toMatchObject([{ end: 'budget', upBytes: 10 }]);
  });
});

test('no minute holds twice the number, wherever it begins', () => {
  let now = 0;
  const limited = rule('a.test', 80, { budget: { requestsPerMinute: 5 } });
  const budgets = new Budgets(policy([limited], [], { requestsPerMinute: 100 }), { now: () => now });
  const enter = (times: number): number =>
    Array.from({ length: times }, () => budgets.enter(limited)).filter((verdict) => verdict === undefined)
      .length;
  expect(enter(1)).toBe(1);
  now = 59_000;
  expect(enter(9)).toBe(4);
  // A window that began with the first request would be over, and let five more through.
  now = 61_000;
  expect(enter(9)).toBe(0);
  now = 65_000;
  expect(enter(9)).toBe(1);
  now = 118_999;
  expect(enter(9)).toBe(0);
  now = 120_000;
  expect(enter(9)).toBe(4);
  expect(budgets.enter(limited)?.rule).toBe('allow:a.test.budget.requestsPerMinute');
});

test('refused requests count in the same minute', () => {
  let now = 0;
  const limited = rule('a.test', 80, { budget: { requestsPerMinute: 2 } });
  const budgets = new Budgets(policy([limited]), { now: () => now });
  budgets.countRefused(limited);
  now = 59_999;
  budgets.countRefused(limited);
  now = 61_000;
  expect(budgets.enter(limited)).toMatchObject({ rule: 'allow:a.test.budget.requestsPerMinute' });
});
