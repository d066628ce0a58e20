import { connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { NetworkPolicy, NetworkRule } from '../../src/policy/contract.ts';
import {
  Closing,
  connectHead,
  open,
  openConnect,
  rawServer,
  secure,
  socksHead,
  tlsWorld,
} from './client-kit.ts';
import type { Client, RawServer, TlsWorld } from './client-kit.ts';
import { askDns, dnsQuery } from './dns-client.ts';
import { denyRule, HONEST, policy, rule, startBench, until } from './kit.ts';
import type { Bench } from './kit.ts';
import { originWorld, readRule } from './tls-kit.ts';

const NAME = 'api.allowed.test';
const PLAIN = 'plain.allowed.test';
const TCP = 'db.allowed.test';
/** "Well under a second", with room for a loaded machine. */
const SOON_MS = 700;

const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

async function bench(rules: readonly NetworkRule[], origin: RawServer, more: object = {}): Promise<Bench> {
  const made = await startBench({
    policy: policy(rules),
    origin: origin.port,
    answers: { [NAME]: [HONEST], [PLAIN]: [HONEST], [TCP]: [HONEST], 'new.test': [HONEST] },
    authority: tls.authority,
    roots: tls.roots,
    limits: { handshakeMs: 2_000, lingerMs: 200 },
    ...more,
  });
  closing.add(() => made.gateway.close());
  return made;
}

async function server(serve: (socket: Socket) => void, secureFor?: string): Promise<RawServer> {
  const made = await rawServer(serve, secureFor === undefined ? undefined : tls.world.leaf(secureFor));
  closing.add(() => made.close());
  return made;
}

const echo = (socket: Socket): void => void socket.pipe(socket);

/** Answers each request head; `/slow` gets half an answer. */
function http(socket: Socket): void {
  socket.on('end', () => socket.end());
  socket.on('data', (chunk: Buffer) => {
    const slow = chunk.includes('/slow');
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${slow ? 100 : 2}\r\n\r\nok`);
  });
}

const silent = (socket: Socket): void => void socket.resume();

const get = (host: string, target = '/'): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** Denials of a bench, as `rule host`. */
function denials(on: Bench): string[] {
  return on.events.filter(({ action }) => action === 'deny').map(({ rule: by, host }) => `${by} ${host}`);
}

async function openSocks(port: number, host: string, to: number): Promise<Client> {
  const client = await open(port);
  client.write(socksHead(host, to));
  await client.saw('\x05\x00\x05\x00');
  return client;
}

describe('what is under way', () => {
  test('tunnels that a deny rule now names end at once, upstream too, and leave a record', async () => {
    const origin = await server(echo);
    const rules = [rule(TCP, 5432), rule('new.test', 5432)];
    const on = await bench(rules, origin);
    const cut = await openConnect(on.proxy, `${TCP}:5432`);
    const cutSocks = await openSocks(on.socks, TCP, 5432);
    const kept = await openSocks(on.socks, 'new.test', 5432);
    for (const client of [cut, cutSocks, kept]) {
      client.write('ping');
      await client.saw('ping');
    }
    const since = performance.now();
    const { closed } = on.gateway.update({ policy: policy(rules, [denyRule(TCP)]) });
    expect(closed).toBe(2);
    expect(await cut.ended(since)).toBeLessThan(SOON_MS);
    expect(await cutSocks.ended(since)).toBeLessThan(SOON_MS);
    await until('upstream is gone', () => origin.sockets.size === 1);
    kept.write('still here');
    await kept.saw('still here');
    expect(denials(on)).toEqual([`deny:${TCP} ${TCP}`, `deny:${TCP} ${TCP}`]);
    expect(on.events.filter(({ action }) => action === 'deny').map(({ entry }) => entry)).toEqual([
      'http-proxy',
      'socks',
    ]);
    await until('both summaries', () => on.summaries.length === 2);
  });

  test('an equal grant in other words keeps the tunnel; another grant for the same host does not', async () => {
    const origin = await server(echo);
    const on = await bench([rule(TCP, 5432)], origin);
    const client = await openConnect(on.proxy, `${TCP}:5432`);
    const again = rule(TCP, 5432, { id: 'network.allow[9]', origin: { layer: 'organisation' } });
    expect(on.gateway.update({ policy: policy([rule('z.test', 1), again]) })).toEqual({ closed: 0 });
    client.write('ping');
    await client.saw('ping');
    expect(on.gateway.update({ policy: policy([{ ...again, private: true }]) })).toEqual({ closed: 1 });
    expect(await client.ended()).toBeLessThan(SOON_MS);
    expect(denials(on)).toEqual([`structural.policy-change ${TCP}`]);
  });

  test('a tunnel to an address that a deny rule names ends, whatever its name is', async () => {
    const origin = await server(echo);
    const on = await bench([rule(TCP, 5432)], origin);
    const client = await openConnect(on.proxy, `${TCP}:5432`);
    expect(on.gateway.update({ policy: policy([rule(TCP, 5432)], [denyRule(HONEST)]) })).toEqual({
      closed: 1,
    });
    expect(await client.ended()).toBeLessThan(SOON_MS);
    expect(denials(on)).toEqual([`deny:${HONEST} ${TCP}`]);
  });

  test('inspected HTTP/1: a request in flight is cut, the origin sees its end', async () => {
    const origin = await server(http, NAME);
    const on = await bench([readRule(NAME)], origin);
    const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
    client.write(get(NAME));
    await client.saw('ok');
    client.write(get(NAME, '/slow'));
    await client.saw('ok');
    const since = performance.now();
    expect(on.gateway.update({ policy: policy([rule(TCP, 5432)]) })).toEqual({ closed: 1 });
    expect(await client.ended(since)).toBeLessThan(SOON_MS);
    await until('upstream is gone', () => origin.sockets.size === 0);
    expect(denials(on)).toEqual([`default.deny ${NAME}`]);
  });

  test('inspected HTTP/2: the connection with all its streams', async () => {
    const origin = await server(silent, NAME);
    const on = await bench([readRule(NAME)], origin);
    const { socket } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem, [
      'h2',
    ]);
    expect(socket.alpnProtocol).toBe('h2');
    const session = connectHttp2(`https://${NAME}`, { createConnection: () => socket });
    session.on('error', () => undefined);
    const streams = [1, 2].map(() => session.request({ ':path': '/' }).on('error', () => undefined));
    await until('both are upstream', () => origin.count() === 2);
    const ended = Promise.all(streams.map((stream) => new Promise((done) => stream.once('close', done))));
    const since = performance.now();
    expect(on.gateway.update({ policy: policy([readRule(NAME, { http2: false })]) })).toEqual({ closed: 1 });
    await ended;
    expect(performance.now() - since).toBeLessThan(SOON_MS);
    await until('upstream is gone', () => origin.sockets.size === 0);
    expect(denials(on)).toEqual([`structural.policy-change ${NAME}`]);
    session.destroy();
  });

  test('plain HTTP: pinned connections, and requests in flight on a proxy connection', async () => {
    const origin = await server(http);
    const on = await bench([rule(PLAIN, 80)], origin);
    on.destination.address = (await askDns(on.dnsUdp, dnsQuery(PLAIN.split('.'))))?.addresses[0] ?? '';
    on.destination.port = 80;
    const pinned = await open(on.transparent);
    pinned.write(get(PLAIN));
    await pinned.saw('ok');
    const idle = await open(on.proxy);
    idle.write(get(PLAIN, `http://${PLAIN}/`));
    await idle.saw('ok');
    const busy = await open(on.proxy);
    busy.write(get(PLAIN, `http://${PLAIN}/slow`));
    await busy.saw('ok');
    expect(on.gateway.update({ policy: policy([]) })).toEqual({ closed: 2 });
    await pinned.ended();
    await busy.ended();
    await until('upstream is gone', () => origin.sockets.size === 0);
    // A proxy connection has no destination of its own; its next request meets the new policy.
    expect(idle.closed).toBe(false);
    idle.write(get(PLAIN, `http://${PLAIN}/`));
    expect(await idle.saw('X-Glovebox-Denied')).toContain('403 Forbidden');
  });

  test('a connection that waits for its origin is not opened any more', async () => {
    const origin = await server(http, NAME);
    let release: (() => void) | undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    const on = await bench([readRule(NAME), rule(TCP, 5432)], origin, {
      resolver: { resolve: () => held.then(() => [HONEST]) },
    });
    const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
    client.write(get(NAME));
    const tcp = await open(on.proxy);
    tcp.write(connectHead(`${TCP}:5432`));
    await new Promise((resolve) => setTimeout(resolve, 50));
    on.gateway.update({ policy: policy([]) });
    await client.ended();
    await tcp.ended();
    release?.();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(on.dialled).toEqual([]);
  });
});

test('a connection that is being opened while the policy changes is vetted anew, and its request goes on', async () => {
  const origin = await server(http, NAME);
  const releases: (() => void)[] = [];
  const on = await bench([readRule(NAME)], origin, {
    resolver: { resolve: () => new Promise((resolve) => releases.push(() => resolve([HONEST]))) },
  });
  const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
  client.write(get(NAME));
  await until('the first lookup', () => releases.length === 1);
  expect(on.gateway.update({ policy: policy([readRule(NAME)]) })).toEqual({ closed: 0 });
  releases[0]?.();
  await until('the second lookup', () => releases.length === 2);
  expect(on.dialled).toEqual([]);
  releases[1]?.();
  await client.saw('ok');
  expect(on.dialled).toHaveLength(1);
});

describe('what comes after', () => {
  test('idle upstream connections are not used again; new names and rules work at once', async () => {
    const origin = await server(http, NAME);
    const on = await bench([readRule(NAME)], origin);
    const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
    client.write(get(NAME));
    await client.saw('ok');
    on.gateway.update({ policy: policy([readRule(NAME), rule('new.test', 5432)]) });
    await until('the idle one is closed', () => origin.sockets.size === 0);
    client.write(get(NAME));
    await client.saw('ok');
    expect(origin.count()).toBe(2);
    expect((await askDns(on.dnsUdp, dnsQuery(['new', 'test'])))?.addresses).toHaveLength(1);
    expect(on.events.some(({ entry, host }) => entry === 'dns' && host === 'new.test')).toBe(true);
  });

  test('budgets keep their counts and get the new limits', async () => {
    const origin = await server(http);
    const limited = (requests: number, id = 'network.allow[0]'): NetworkRule =>
      rule(PLAIN, 80, { id, budget: { requests } });
    const on = await bench([limited(2)], origin);
    const ask = async (): Promise<string> => {
      const client = await open(on.proxy);
      client.write(get(PLAIN, `http://${PLAIN}/`));
      return (await client.saw('\r\n\r\n')).slice(9, 12);
    };
    expect([await ask(), await ask(), await ask()]).toEqual(['200', '200', '429']);
    // The rule has moved in the file: what was used moves with it.
    const others: NetworkPolicy = policy([
      rule('other.test', 80, { id: 'network.allow[0]' }),
      limited(3, 'network.allow[1]'),
    ]);
    on.gateway.update({ policy: others });
    expect([await ask(), await ask()]).toEqual(['200', '429']);
    on.gateway.update({ policy: policy([]) });
    on.gateway.update({ policy: others });
    expect(await ask()).toBe('429');
    expect(denials(on)).toContain(`network.allow[1].budget.requests ${PLAIN}`);
  });

  test('trust follows: an added authority is believed, one that was taken away is not', async () => {
    const other = originWorld('Other CA');
    const file = path.join(tls.dir, 'other.pem');
    writeFileSync(file, other.caPem);
    const origin = await rawServer(http, other.leaf(NAME));
    closing.add(() => origin.close());
    const on = await bench([readRule(NAME)], origin);
    const ask = async (): Promise<Client> => {
      const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
      client.write(get(NAME));
      return client;
    };
    expect(await (await ask()).saw('\r\n\r\n')).toContain('502');
    on.gateway.update({ policy: { ...policy([readRule(NAME)]), trust: [file] } });
    const trusted = await ask();
    expect(await trusted.saw('ok')).toContain('200 OK');
    expect(on.gateway.update({ policy: policy([readRule(NAME)]) }).closed).toBeGreaterThan(0);
    await trusted.ended();
    expect(await (await ask()).saw('\r\n\r\n')).toContain('502');
    expect(denials(on)).toContain(`structural.tls-upstream ${NAME}`);
  });
});

describe('a policy that cannot be put in force', () => {
  const broken: readonly (readonly [string, NetworkPolicy])[] = [
    ['a host', policy([rule('a*b.test', 443)])],
    ['a deny host', policy([], [denyRule('https://x.test')])],
    ['a path', policy([readRule('x.test', { allow: [{ path: 'v1' }] })])],
    [
      'a regex',
      policy([readRule('x.test', { refuse: [{ query: { a: { kind: 'regex', pattern: '(?=a)' } } }] })]),
    ],
  ];

  test.each(broken)('%s: the old one stays, whole', async (_what, bad) => {
    const origin = await server(echo);
    const on = await bench([rule(TCP, 5432)], origin);
    const client = await openConnect(on.proxy, `${TCP}:5432`);
    expect(() => on.gateway.update({ policy: bad })).toThrow(
      expect.objectContaining({ code: 'E_POLICY_INVALID' }),
    );
    client.write('ping');
    await client.saw('ping');
    await openConnect(on.proxy, `${TCP}:5432`);
    await expect(bench(bad.allow, origin, { policy: bad })).rejects.toMatchObject({
      code: 'E_POLICY_INVALID',
    });
  });

  test('a closed gateway takes no policy', async () => {
    const origin = await server(echo);
    const on = await bench([], origin);
    await on.gateway.close();
    expect(on.gateway.update({ policy: policy([rule(TCP, 5432)]) })).toEqual({ closed: 0 });
  });
});
