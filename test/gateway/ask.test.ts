import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AskAnswer, AskOutcome, AskQuestion, RequestRecord } from '../../src/gateway/contract.ts';
import type { AskPolicy, NetworkRule } from '../../src/policy/contract.ts';
import { clientHello } from './hello.ts';
import { Closing, connectHead, open, rawServer, secure, socksHead, tlsWorld } from './client-kit.ts';
import type { RawServer, TlsWorld } from './client-kit.ts';
import { askDns, dnsQuery } from './dns-client.ts';
import { denyRule, HONEST, policy, rule, sleep, startBench, until } from './kit.ts';
import type { Bench, BenchOptions } from './kit.ts';
import { readRule } from './tls-kit.ts';

const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

interface Asked extends AskQuestion {
  readonly signal: AbortSignal;
  readonly answer: (answer: AskAnswer) => void;
}

interface AskBench {
  readonly on: Bench;
  readonly origin: RawServer;
  readonly questions: Asked[];
  readonly outcomes: AskOutcome[];
}

async function bench(
  ask: Partial<AskPolicy> = {},
  more: Partial<BenchOptions> = {},
  rules: readonly NetworkRule[] = [],
): Promise<AskBench> {
  const origin = await rawServer((socket) => {
    socket.on('data', (chunk: Buffer) =>
      socket.write(chunk.includes('HTTP/1.1') ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' : chunk),
    );
    socket.on('end', () => socket.end());
  });
  const questions: Asked[] = [];
  const outcomes: AskOutcome[] = [];
  const on = await startBench({
    policy: {
      ...policy(rules, [denyRule('bad.test'), denyRule('ports.test', { ports: [22] })]),
      ask: { timeoutMs: 5_000, pending: 2, ...ask },
    },
    origin: origin.port,
    answers: { 'new.test': [HONEST], 'b.test': [HONEST], 'inside.test': ['169.254.169.254'] },
    onAsk: (question, signal) => new Promise((answer) => questions.push({ ...question, signal, answer })),
    onAsked: (outcome) => outcomes.push(outcome),
    limits: { lingerMs: 200 },
    ...more,
  });
  closing.add(async () => {
    await on.gateway.close();
    await origin.close();
  });
  return { on, origin, questions, outcomes };
}

async function asked(b: AskBench, count = 1): Promise<Asked> {
  await until(`question ${count}`, () => b.questions.length >= count);
  const question = b.questions[count - 1];
  if (question === undefined) throw new Error('no question');
  return question;
}

const denials = (on: Bench): string[] =>
  on.events.filter(({ action }) => action === 'deny').map(({ rule: by, reason }) => `${by}: ${reason}`);

describe('every entry', () => {
  test('CONNECT: once is for this connection alone', async () => {
    const b = await bench();
    const first = await open(b.on.proxy);
    first.write(connectHead('new.test:5432'));
    const question = await asked(b);
    expect(question).toMatchObject({ host: 'new.test', port: 5432, entry: 'http-proxy' });
    expect(b.on.asked).toEqual([]);
    question.answer('once');
    await first.saw('200 Connection');
    first.write('ping');
    await first.saw('ping');
    expect(question.signal.aborted).toBe(true);
    expect(b.outcomes).toMatchObject([{ host: 'new.test', port: 5432, entry: 'http-proxy', answer: 'once' }]);
    expect(b.on.events).toMatchObject([
      { action: 'allow', rule: 'ask.once', host: 'new.test', address: HONEST },
    ]);
    const second = await open(b.on.proxy);
    second.write(connectHead('new.test:5432'));
    (await asked(b, 2)).answer('deny');
    expect(await second.saw('}\n')).toContain('somebody was asked and did not allow it');
    expect(denials(b.on)).toEqual([
      'default.deny: no rule allows new.test; somebody was asked and did not allow it',
    ]);
  });

  test('SOCKS: for the sandbox, and all who wait share one question', async () => {
    const b = await bench();
    const clients = await Promise.all([1, 2, 3].map(() => open(b.on.socks)));
    for (const client of clients) client.write(socksHead('new.test', 5432));
    (await asked(b)).answer('sandbox');
    for (const client of clients) await client.saw('\x05\x00\x05\x00');
    const late = await open(b.on.socks);
    late.write(socksHead('new.test', 5432));
    await late.saw('\x05\x00\x05\x00');
    expect(b.questions).toHaveLength(1);
    expect(b.outcomes).toMatchObject([{ answer: 'sandbox', entry: 'socks' }]);
    expect(b.on.events.every(({ rule: by }) => by === 'ask.sandbox')).toBe(true);
  });

  test('absolute-form: the request waits, its body unread, and the next one is asked about again', async () => {
    const b = await bench();
    const client = await open(b.on.proxy);
    const head = 'POST http://new.test/ HTTP/1.1\r\nHost: new.test\r\nContent-Length: 4\r\n\r\n';
    client.write(`${head}body`);
    const question = await asked(b);
    expect(question).toMatchObject({ host: 'new.test', port: 80 });
    await sleep(30);
    expect(b.origin.count()).toBe(0);
    question.answer('once');
    await client.saw('ok');
    client.write(`${head}body`);
    (await asked(b, 2)).answer('deny');
    expect(await client.saw('}\n')).toContain('403');
    expect(b.outcomes.map(({ answer }) => answer)).toEqual(['once', 'deny']);
  });

  test('transparent: a name that no rule knows has an address, and the connection to it is asked about', async () => {
    const b = await bench();
    const reply = await askDns(b.on.dnsUdp, dnsQuery(['new', 'test']));
    expect(reply?.addresses).toHaveLength(1);
    expect(b.on.events).toMatchObject([
      { entry: 'dns', action: 'allow', rule: 'ask.name', host: 'new.test' },
    ]);
    b.on.destination.address = reply?.addresses[0] ?? '';
    const client = await open(b.on.transparent);
    client.write(clientHello({ sni: 'new.test' }));
    const question = await asked(b);
    expect(question).toMatchObject({ host: 'new.test', port: 443, entry: 'transparent' });
    question.answer('sandbox');
    // The echo of the ClientHello: the tunnel is there.
    await client.saw('new.test');
    expect(b.on.events.at(-1)).toMatchObject({ rule: 'ask.sandbox', entry: 'transparent', host: 'new.test' });
  });
});

describe('what is never asked about', () => {
  test('deny rules, structural denials, malformed requests, other ports of denied names', async () => {
    const b = await bench();
    for (const authority of [
      'bad.test:443',
      'metadata.google.internal:80',
      '127.0.0.1:80',
      'ports.test:22',
      '10.0.0.1:443',
      '[fd00::1]:443',
    ]) {
      const client = await open(b.on.proxy);
      client.write(connectHead(authority));
      await client.saw('403');
    }
    const mismatch = await open(b.on.proxy);
    mismatch.write('GET http://new.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n');
    await mismatch.saw('403');
    expect(b.questions).toEqual([]);
    for (const labels of [
      ['bad', 'test'],
      ['metadata', 'google', 'internal'],
      ['a b', 'test'],
    ])
      expect((await askDns(b.on.dnsUdp, dnsQuery(labels)))?.addresses).toEqual([]);
  });

  test('an answer opens no forbidden address', async () => {
    const b = await bench();
    const client = await open(b.on.proxy);
    client.write(connectHead('inside.test:443'));
    (await asked(b)).answer('sandbox');
    expect(await client.saw('}\n')).toContain('forbidden address');
    expect(b.on.dialled).toEqual([]);
    expect(denials(b.on)[0]).toContain('structural.metadata');
  });

  test('without anybody to ask, or a policy that says so, nothing changes', async () => {
    const nobody = await bench({}, { policy: policy([]) });
    const client = await open(nobody.on.proxy);
    client.write(connectHead('new.test:443'));
    await client.saw('403');
    expect((await askDns(nobody.on.dnsUdp, dnsQuery(['new', 'test'])))?.rcode).toBe(3);
    expect(nobody.questions).toEqual([]);
    expect(denials(nobody.on)).toEqual([
      'default.deny: no rule allows new.test',
      'default.deny: no rule allows new.test',
    ]);
  });
});

describe('limits', () => {
  test('no answer in time is a denial that says so', async () => {
    const b = await bench({ timeoutMs: 60 });
    const client = await open(b.on.proxy);
    client.write(connectHead('new.test:443'));
    expect(await client.saw('}\n')).toContain('did not answer within 0.06 s');
    expect(b.questions[0]?.signal.aborted).toBe(true);
    expect(b.outcomes).toMatchObject([{ answer: 'timeout' }]);
    b.questions[0]?.answer('sandbox');
    await sleep(10);
    const again = await open(b.on.proxy);
    again.write(connectHead('new.test:443'));
    await asked(b, 2);
  });

  test('one question more than may wait is a denial that says so', async () => {
    const b = await bench({ pending: 1 });
    const first = await open(b.on.proxy);
    first.write(connectHead('new.test:443'));
    await asked(b);
    const second = await open(b.on.proxy);
    second.write(connectHead('b.test:443'));
    expect(await second.saw('}\n')).toContain('1 other questions wait');
    expect(b.outcomes).toMatchObject([{ host: 'b.test', answer: 'full', durationMs: 0 }]);
    expect(denials(b.on)).toHaveLength(1);
  });

  test('what was denied is refused for a minute without another question', async () => {
    const b = await bench();
    const first = await open(b.on.proxy);
    first.write(connectHead('new.test:443'));
    (await asked(b)).answer('deny');
    expect(await first.saw('}\n')).toContain('somebody was asked and did not allow it');
    for (let i = 0; i < 3; i++) {
      const again = await open(b.on.proxy);
      again.write(connectHead('new.test:443'));
      expect(await again.saw('}\n')).toContain('asked less than a minute ago');
    }
    expect(b.questions).toHaveLength(1);
    expect(b.outcomes).toMatchObject([{ answer: 'deny' }]);
    expect(b.on.gateway.stats().denied).toBe(4);
    const elsewhere = await open(b.on.proxy);
    elsewhere.write(connectHead('new.test:8443'));
    expect(await asked(b, 2)).toMatchObject({ port: 8443 });
  });

  test('only so many questions are asked within a minute', async () => {
    const b = await bench({}, { limits: { lingerMs: 200, questionsPerMinute: 3 } });
    for (let port = 1; port <= 5; port++) {
      const client = await open(b.on.proxy);
      client.write(connectHead(`new.test:${port}`));
      if (port <= 3) (await asked(b, port)).answer('deny');
      const said = await client.saw('}\n');
      expect(said).toContain(port <= 3 ? 'did not allow it' : '3 questions were asked within a minute');
    }
    expect(b.questions).toHaveLength(3);
    expect(b.outcomes.map(({ answer }) => answer)).toEqual(['deny', 'deny', 'deny', 'full', 'full']);
  });

  test('a callback that fails is a denial', async () => {
    const b = await bench({}, { onAsk: () => Promise.reject(new Error('no terminal')) });
    const client = await open(b.on.proxy);
    client.write(connectHead('new.test:443'));
    expect(await client.saw('}\n')).toContain('did not allow it');
    expect(b.outcomes).toMatchObject([{ answer: 'deny' }]);
    expect(b.outcomes[0]).not.toHaveProperty('by');
  });

  test.each([
    ['once', 'once', 'callback'],
    [{ answer: 'once', by: 'alice\u001b[2J' }, 'once', 'alice\\u001b[2J'],
    [{ answer: 'once', by: 7 }, 'once', 'callback'],
    [{ answer: 'yes', by: 'alice' }, 'deny', 'alice'],
    [{ by: 'alice' }, 'deny', 'alice'],
    [undefined, 'deny', 'callback'],
    [null, 'deny', 'callback'],
  ])('whose answer %j is stands in the record', async (reply, answer, by) => {
    const b = await bench({}, { onAsk: () => Promise.resolve(reply as AskAnswer) });
    const client = await open(b.on.proxy);
    client.write(connectHead('new.test:443'));
    await client.saw(answer === 'once' ? '200 ' : '403');
    expect(b.outcomes).toMatchObject([{ answer, by }]);
  });

  test('a client that left is forgotten; an answer for the sandbox serves the next', async () => {
    const b = await bench();
    const first = await open(b.on.proxy);
    first.write(connectHead('new.test:5432'));
    const question = await asked(b);
    first.socket.resetAndDestroy();
    await sleep(20);
    question.answer('sandbox');
    await sleep(20);
    expect(b.on.dialled).toEqual([]);
    const second = await open(b.on.proxy);
    second.write(connectHead('new.test:5432'));
    await second.saw('200 Connection');
  });

  test('a proxy request whose client left is recorded as refused', async () => {
    const records: RequestRecord[] = [];
    const b = await bench({}, { onRequest: (record) => records.push(record) });
    const client = await open(b.on.proxy);
    client.write('GET http://new.test/ HTTP/1.1\r\nHost: new.test\r\n\r\n');
    const question = await asked(b);
    client.socket.destroy();
    await until('the record', () => records.length === 1);
    expect(records).toMatchObject([{ action: 'deny', rule: 'default.deny', host: 'new.test', status: 0 }]);
    question.answer('once');
    await sleep(20);
    expect(b.on.dialled).toEqual([]);
  });

  test('a held client is not read beyond what fits in a buffer', async () => {
    const b = await bench();
    const client = await open(b.on.proxy);
    client.write(connectHead('new.test:5432'));
    await asked(b);
    let sent = 0;
    const piece = Buffer.alloc(256 * 1024);
    while (client.socket.writableLength < 16 * 1024 * 1024) {
      client.socket.write(piece);
      sent += piece.length;
      await sleep(0);
    }
    await sleep(50);
    // What the kernel's own buffers hold is between the two sockets, not in the gateway.
    expect(client.socket.writableLength).toBeGreaterThan(4 * 1024 * 1024);
    expect(sent).toBeGreaterThan(16 * 1024 * 1024);
    client.socket.destroy();
  });

  test('at most 256 unknown names get an address, and none that looks like data', async () => {
    const b = await bench();
    const data = 'mzxw6ytboi2gk3tfonvwk3dmn5zgkz3bonsxg5d';
    expect((await askDns(b.on.dnsUdp, dnsQuery([data, 'test'])))?.addresses).toEqual([]);
    const given: Awaited<ReturnType<typeof askDns>>[] = [];
    // A few at a time, and again where half a second was not enough.
    const answered = async (query: Buffer): ReturnType<typeof askDns> =>
      (await askDns(b.on.dnsTcp, query, true)) ?? askDns(b.on.dnsTcp, query, true);
    for (let from = 0; from < 270; from += 10) {
      const some = Array.from({ length: 10 }, (_, i) => dnsQuery([`n${from + i}`, 'test']));
      given.push(...(await Promise.all(some.map(answered))));
    }
    expect(given.filter((reply) => reply?.addresses.length === 1)).toHaveLength(256);
    expect(denials(b.on).map((text) => text.split(':')[0])).toContain('structural.data-in-name');
    expect(denials(b.on).map((text) => text.split(':')[0])).toContain('structural.names');
  });

  test('closing the gateway denies everything that waits', async () => {
    const b = await bench();
    const client = await open(b.on.proxy);
    client.write(connectHead('new.test:443'));
    const question = await asked(b);
    await b.on.gateway.close();
    expect(question.signal.aborted).toBe(true);
    await client.ended();
    expect(b.outcomes).toMatchObject([{ answer: 'deny' }]);
  });
});

describe('another policy meanwhile', () => {
  test('what it allows or denies is settled without an answer, the rest goes on waiting', async () => {
    const b = await bench({ pending: 5 });
    const hosts = ['new.test', 'b.test', 'c.test'];
    const clients = await Promise.all(hosts.map(() => open(b.on.proxy)));
    for (const [i, client] of clients.entries()) client.write(connectHead(`${hosts[i]}:5432`));
    await asked(b, 3);
    b.on.gateway.update({
      policy: {
        ...policy([rule('new.test', 5432)], [denyRule('b.test', { reason: 'not this one' })]),
        ask: { timeoutMs: 5_000, pending: 5 },
      },
    });
    await clients[0]?.saw('200 Connection');
    expect(await clients[1]?.saw('}\n')).toContain('not this one');
    expect(b.questions.map(({ signal }) => signal.aborted)).toEqual([true, true, false]);
    expect(b.outcomes).toEqual([]);
    b.on.gateway.update({ policy: policy([]) });
    expect(await clients[2]?.saw('}\n')).toContain('no rule allows c.test');
    expect(b.outcomes).toMatchObject([{ host: 'c.test', answer: 'deny' }]);
  });

  test('what an answer had allowed ends with it', async () => {
    const b = await bench();
    const client = await open(b.on.proxy);
    client.write(connectHead('new.test:5432'));
    (await asked(b)).answer('sandbox');
    await client.saw('200 Connection');
    expect(b.on.gateway.update({ policy: policy([]) })).toEqual({ closed: 1 });
    await client.ended();
  });
});

test('a host with a rule is not asked about; its requests are judged as ever', async () => {
  const b = await bench({}, { authority: tls.authority, roots: tls.roots }, [
    readRule('api.test', { allow: [{ path: '/ok' }] }),
  ]);
  const tunnel = await open(b.on.proxy);
  tunnel.write(connectHead('api.test:443'));
  await tunnel.saw('200 Connection');
  const { client } = await secure(tunnel, 'api.test', tls.authority.pem);
  client.write('GET /other HTTP/1.1\r\nHost: api.test\r\n\r\n');
  await client.saw('403');
  expect(b.questions).toEqual([]);
});
