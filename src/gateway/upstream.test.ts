import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { NetworkRule } from '../policy/contract.ts';
import { Judge } from './decide.ts';
import type { Allowed } from './decide.ts';
import { netDialler, ownAddresses } from './dial.ts';
import { systemResolver } from './resolve.ts';
import { Upstream } from './upstream.ts';

const base: NetworkRule = {
  id: 'r',
  host: 'api.test',
  ports: [443],
  protocol: 'tcp',
  private: false,
  allowNoSni: false,
  origin: { layer: 'user' },
};

function setUp(
  answers: readonly string[],
  rule: NetworkRule = base,
): { upstream: Upstream; target: Allowed; judge: Judge } {
  const deny = { id: 'd', host: '93.184.216.99', origin: { layer: 'user' } } as const;
  const judge = new Judge({ allow: [rule], deny: [deny], budget: {} }, () => new Set(['203.0.114.5']));
  const decision = judge.decide(rule.host, rule.ports[0] ?? 0);
  if (decision.action !== 'allow') throw new Error(decision.verdict.reason);
  const upstream = new Upstream({
    judge,
    resolver: { resolve: () => Promise.resolve(answers) },
    dialler: netDialler,
    limits: { resolveMs: 100, dialMs: 200, dialAddresses: 4 },
    closing: new AbortController().signal,
    track: () => undefined,
  });
  return { upstream, target: decision, judge };
}

describe('vetting', () => {
  test.each([
    [['93.184.216.34'], ['93.184.216.34']],
    [['127.0.0.1', '93.184.216.34', '::1', '10.0.0.1'], ['93.184.216.34']],
    [['2606:4700:0::1111'], ['2606:4700::1111']],
    [
      ['93.184.216.1', '93.184.216.2', '93.184.216.3', '93.184.216.4', '93.184.216.5'],
      ['93.184.216.1', '93.184.216.2', '93.184.216.3', '93.184.216.4'],
    ],
  ])('%j leaves %j', async (answers, addresses) => {
    const { upstream, target } = setUp(answers);
    expect(await upstream.vet(target)).toEqual({ state: 'ok', addresses });
  });

  test.each([
    ['127.0.0.1', 'structural.loopback'],
    ['169.254.169.254', 'structural.metadata'],
    ['10.0.0.1', 'structural.private'],
    ['203.0.114.5', 'structural.host'],
    ['198.18.0.7', 'structural.synthetic'],
    ['::ffff:169.254.169.254', 'structural.reserved'],
    ['93.184.216.99', 'd'],
    ['not an address', 'structural.malformed'],
  ])('%s is refused by %s', async (answer, rule) => {
    const { upstream, target } = setUp([answer]);
    expect(await upstream.vet(target)).toMatchObject({ state: 'denied', verdict: { rule } });
  });

  test('private: true lifts private ranges and nothing else', async () => {
    const { upstream, target } = setUp(
      ['10.0.0.1', '127.0.0.1', '169.254.169.254', 'fd00:ec2::254', 'fd12::1'],
      { ...base, private: true },
    );
    expect(await upstream.vet(target)).toEqual({ state: 'ok', addresses: ['10.0.0.1', 'fd12::1'] });
  });

  test('ranges lift what they hold; no range lifts loopback, metadata or the rest', async () => {
    const ranges = { ...base, private: true, privateRanges: ['10.2.0.0/16', 'fd12::/32'] };
    const answers = ['10.2.255.1', '10.3.0.1', '192.168.0.1', 'fd12::1', 'fd13::1', '93.184.216.34'];
    const { upstream, target } = setUp([...answers, '127.0.0.1', 'fd00:ec2::254'], ranges);
    expect(await upstream.vet(target)).toEqual({
      state: 'ok',
      addresses: ['10.2.255.1', 'fd12::1', '93.184.216.34'],
    });
    const outside = setUp(['10.3.0.1'], ranges);
    expect(await outside.upstream.vet(outside.target)).toMatchObject({
      state: 'denied',
      verdict: { rule: 'structural.private', remedy: expect.stringContaining('`private`') },
    });
    // A range can be written by hand in a plan that no schema has seen.
    const odd = setUp(['127.0.0.1'], { ...base, private: true, privateRanges: ['0.0.0.0/0'] });
    expect(await odd.upstream.vet(odd.target)).toMatchObject({ state: 'denied' });
  });

  test('host-loopback is 127.0.0.1 of the host, by its own name only', async () => {
    const { upstream, target } = setUp(['8.8.8.8'], { ...base, host: 'host-loopback' });
    expect(await upstream.vet(target)).toEqual({ state: 'ok', addresses: ['127.0.0.1'] });
  });

  test('no answer and a silent resolver fail', async () => {
    const { upstream, target } = setUp([]);
    expect(await upstream.vet(target)).toMatchObject({ state: 'failed' });
  });
});

test('dialling takes literals only, one after another', async () => {
  const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  const { upstream, target } = setUp([]);
  const purpose = { target: { ...target, port }, entry: 'socks' } as const;
  const dialled = await upstream.dial(['127.0.0.2', '127.0.0.1'].slice(1), purpose);
  expect(dialled).toMatchObject({ state: 'ok', address: '127.0.0.1' });
  if (dialled.state === 'ok') dialled.socket.destroy();
  await expect(netDialler.dial('localhost', port, new AbortController().signal)).rejects.toThrow(
    'not an address',
  );
  server.close();
  await once(server, 'close');
  expect(await upstream.dial(['127.0.0.1'], purpose)).toMatchObject({ state: 'failed' });
});

test('an address that a new policy denies is not given out, though it was vetted under the old one', async () => {
  const server = createServer((socket) => socket.resume()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  const { upstream, target, judge } = setUp([]);
  const purpose = { target: { ...target, port }, entry: 'socks' } as const;
  const dialling = upstream.dial(['127.0.0.1'], purpose);
  const deny = { id: 'd', host: '127.0.0.1', origin: { layer: 'user' } } as const;
  judge.replace({ allow: [base], deny: [deny], budget: {} });
  expect(await dialling).toMatchObject({ state: 'failed', why: expect.stringContaining('policy changed') });
  server.close();
});

describe('system resolver', () => {
  const signal = new AbortController().signal;

  test('the hosts file comes first', async () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'gw-'));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const file = path.join(dir, 'hosts');
    writeFileSync(
      file,
      '# comment\n10.1.2.3 Db.Internal alias # db\nfe80::1%lo db.internal\n::1 six.internal\n',
    );
    const resolver = systemResolver(file);
    expect(await resolver.resolve('db.internal', signal)).toEqual(['10.1.2.3']);
    expect(await resolver.resolve('six.internal', signal)).toEqual(['::1']);
  });

  test.each(['127.0.0.1\u0000.x.test', '0x7f.1', 'API.test', 'a b', ''])(
    '%j is not looked up',
    async (name) => {
      await expect(systemResolver('/nonexistent').resolve(name, signal)).rejects.toThrow('not canonical');
    },
  );
});

test('own addresses include loopback', () => {
  expect(ownAddresses()().has('127.0.0.1')).toBe(true);
});
