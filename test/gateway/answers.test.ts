import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { RequestRecord } from '../../src/gateway/contract.ts';
import type { NetworkRule } from '../../src/policy/contract.ts';
import { Closing, open, openConnect, rawServer, secure, socksHead, tlsWorld } from './client-kit.ts';
import type { Client, TlsWorld } from './client-kit.ts';
import { askDns, dnsQuery } from './dns-client.ts';
import { HONEST, policy, rule, startBench, until } from './kit.ts';
import type { Bench, BenchOptions } from './kit.ts';
import { readRule, selfSigned } from './tls-kit.ts';

const NAME = 'api.allowed.test';
const GET = `GET / HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`;

const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

interface AnswerBench {
  readonly on: Bench;
  readonly records: RequestRecord[];
}

async function bench(
  rules: readonly NetworkRule[],
  origin: number,
  more: Partial<BenchOptions> = {},
): Promise<AnswerBench> {
  const records: RequestRecord[] = [];
  const on = await startBench({
    policy: policy(rules),
    origin,
    answers: { [NAME]: [HONEST] },
    authority: tls.authority,
    roots: tls.roots,
    onRequest: (record) => records.push(record),
    limits: { lingerMs: 200 },
    ...more,
  });
  closing.add(() => on.gateway.close());
  return { on, records };
}

async function impostor(): Promise<number> {
  const made = await rawServer((socket: Socket) => void socket.resume(), selfSigned(NAME));
  closing.add(() => made.close());
  return made.port;
}

type Enter = (on: Bench) => Promise<Client>;

const ENTRIES: readonly (readonly [string, Enter])[] = [
  ['http-proxy', (on) => openConnect(on.proxy, `${NAME}:443`)],
  [
    'socks',
    async (on) => {
      const client = await open(on.socks);
      client.write(socksHead(NAME, 443));
      await client.saw('\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0');
      return client;
    },
  ],
  [
    'transparent',
    async (on) => {
      on.destination.address = (await askDns(on.dnsUdp, dnsQuery(NAME.split('.'))))?.addresses[0] ?? '';
      return open(on.transparent);
    },
  ],
];

test.each(ENTRIES)(
  '%s: an origin whose certificate is refused is a 502 that says why, and a record of that entry',
  async (entry, enter) => {
    const { on, records } = await bench([readRule(NAME)], await impostor());
    const { client } = await secure(await enter(on), NAME, tls.authority.pem);
    client.write(GET);
    const page = await client.saw('}\n');
    expect(page).toContain('502 Bad Gateway');
    expect(page).toContain(
      `glovebox: ${NAME} port 443 cannot prove who it is: its certificate is self-signed`,
    );
    // One verdict, and no "allowed" beside it; a name that was asked for by DNS was allowed as a name.
    const decided = on.events.filter((event) => event.entry !== 'dns');
    expect(decided).toMatchObject([{ action: 'deny', rule: 'structural.tls-upstream', entry, host: NAME }]);
    await until('the record', () => records.length === 1);
    expect(records).toMatchObject([{ action: 'deny', rule: 'structural.tls-upstream', status: 502, entry }]);
    expect(records[0]?.reason).toContain('self-signed');
  },
);

test('an origin that cannot be reached or answers nonsense is a 502 that says why', async () => {
  const plain = await rawServer((socket) => {
    socket.on('data', () => void socket.end('220 mail.test ESMTP\r\n\r\n'));
  });
  closing.add(() => plain.close());
  const ask = async (more: Partial<BenchOptions>): Promise<string> => {
    const { on } = await bench([rule(NAME, 80)], plain.port, more);
    const client = await open(on.proxy);
    client.write(`GET http://${NAME}/ HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`);
    return client.saw('}\n');
  };
  expect(await ask({ dialFails: [HONEST] })).toContain(
    `did not answer properly: ${HONEST} port 80: ECONNREFUSED`,
  );
  expect(await ask({})).toContain('did not answer properly: the answer is not HTTP/1.1');
  const unknown = Object.assign(new Error('none'), { code: 'ENOTFOUND' });
  expect(await ask({ resolver: { resolve: () => Promise.reject(unknown) } })).toContain(
    `glovebox: ${NAME} cannot be resolved: ENOTFOUND`,
  );
});

test('a head that cannot be read leaves a record of a request', async () => {
  const { on, records } = await bench([readRule(NAME)], await impostor());
  const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
  client.write('GET / HTTP/1.1\nHost: x\n\n');
  await client.saw('400');
  expect(records).toMatchObject([
    {
      action: 'deny',
      rule: 'structural.malformed',
      host: NAME,
      port: 443,
      status: 400,
      method: '',
      path: '',
    },
  ]);
  const proxied = await open(on.proxy);
  proxied.write(`GET http://x.test/ HTTP/1.1\r\nA: ${'x'.repeat(40_000)}`);
  await proxied.saw('431');
  expect(records[1]).toMatchObject({ action: 'deny', host: '(none)', port: 0, status: 431 });
  expect(on.events.filter(({ rule: by }) => by === 'structural.malformed')).toHaveLength(2);
});
