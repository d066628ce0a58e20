import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { NetworkPolicy, NetworkRule, ParentProxyPolicy } from '../../src/policy/contract.ts';
import { Closing, connectHead, open, openConnect, rawServer, secure, tlsWorld } from './client-kit.ts';
import type { Client, RawServer, TlsWorld } from './client-kit.ts';
import { HONEST, policy, rule, startBench, until } from './kit.ts';
import type { Bench, BenchOptions } from './kit.ts';
import { readRule } from './tls-kit.ts';

const PARENT = '203.0.113.9';
const NAME = 'api.allowed.test';
const TCP = 'db.allowed.test';

const closing = new Closing();
let tls: TlsWorld;
beforeAll(() => (tls = tlsWorld()));
afterAll(() => tls.close());
afterEach(() => closing.all());

interface Parent extends RawServer {
  /** Heads of the CONNECT requests, as they came. */
  readonly heads: string[];
}

/** A CONNECT proxy; `answer` says what it does with a head instead of joining the client to the origin. */
async function parentProxy(
  origin: number,
  answer: (client: Socket, join: (word?: string) => void) => void = (_client, join) => join(),
): Promise<Parent> {
  const heads: string[] = [];
  const server = await rawServer((client) => {
    let head = '';
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      client.off('data', onData);
      heads.push(head);
      answer(client, (word = 'HTTP/1.1 200 OK\r\n\r\n') => joinOrigin(client, origin, word));
    };
    client.on('data', onData);
  });
  closing.add(() => server.close());
  return { ...server, heads };
}

function joinOrigin(client: Socket, port: number, word: string): void {
  const far = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
  far.on('error', () => client.destroy()).on('close', () => client.destroy());
  client.on('close', () => far.destroy());
  far.once('connect', () => {
    client.write(word);
    client.pipe(far);
    far.pipe(client);
  });
}

async function startFar(secureFor?: string): Promise<RawServer> {
  const serve = (socket: Socket): void => {
    socket.on('data', (chunk: Buffer) =>
      socket.write(chunk.includes('HTTP/1.1') ? 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' : chunk),
    );
    socket.on('end', () => socket.end());
  };
  const made = await rawServer(serve, secureFor === undefined ? undefined : tls.world.leaf(secureFor));
  closing.add(() => made.close());
  return made;
}

interface ParentBench {
  readonly on: Bench;
  /** Addresses and ports that the gateway itself dialled. */
  readonly dialled: { readonly address: string; readonly port: number }[];
}

/** A gateway whose parent proxy has an address of its own; every other address is the origin. */
async function bench(
  rules: readonly NetworkRule[],
  ports: { readonly parent: number; readonly origin: number },
  parent: Partial<ParentProxyPolicy> = {},
  more: Partial<BenchOptions> = {},
): Promise<ParentBench> {
  const dialled: { address: string; port: number }[] = [];
  const inForce: NetworkPolicy = {
    ...policy(rules),
    parentProxy: { url: `http://${PARENT}:3128`, noProxy: [], ...parent },
  };
  const on = await startBench({
    policy: inForce,
    origin: ports.origin,
    resolver: {
      resolve: (name) =>
        Promise.resolve(
          { 'meta.test': ['169.254.169.254'], 'parent.test': [PARENT], 'lan.test': ['10.1.2.3'] }[name] ?? [
            HONEST,
          ],
        ),
    },
    dialler: {
      dial: (address, port, signal) =>
        new Promise((resolve, reject) => {
          dialled.push({ address, port });
          const socket = connectTcp({
            port: address === PARENT ? ports.parent : ports.origin,
            host: '127.0.0.1',
            allowHalfOpen: true,
          });
          socket.once('connect', () => resolve(socket)).once('error', reject);
          signal.addEventListener('abort', () => socket.destroy());
        }),
    },
    authority: tls.authority,
    roots: tls.roots,
    limits: { dialMs: 400, lingerMs: 200 },
    ...more,
  });
  closing.add(() => on.gateway.close());
  return { on, dialled };
}

async function tryConnect(on: Bench, authority: string): Promise<Client> {
  const client = await open(on.proxy);
  client.write(connectHead(authority));
  return client;
}

describe('a tunnel through the parent', () => {
  test('the parent is asked for the vetted address, and the record says it', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const { on, dialled } = await bench([rule(TCP, 5432)], { parent: parent.port, origin: far.port });
    const client = await openConnect(on.proxy, `${TCP}:5432`);
    client.write('ping');
    await client.saw('ping');
    expect(dialled).toEqual([{ address: PARENT, port: 3128 }]);
    expect(parent.heads).toEqual([`CONNECT ${HONEST}:5432 HTTP/1.1\r\nHost: ${HONEST}:5432\r\n\r\n`]);
    expect(on.events).toMatchObject([{ action: 'allow', host: TCP, address: HONEST }]);
    client.socket.destroy();
    await until('the parent is left', () => parent.sockets.size === 0);
  });

  test('inspected TLS, a parent with a name, and a credential of the broker', async () => {
    const far = await startFar(NAME);
    const parent = await parentProxy(far.port);
    const { on } = await bench(
      [readRule(NAME)],
      { parent: parent.port, origin: far.port },
      { url: 'http://parent.test:8080', credential: 'corp' },
      { parentAuthorization: () => Promise.resolve('Basic dTpw') },
    );
    const { client } = await secure(await openConnect(on.proxy, `${NAME}:443`), NAME, tls.authority.pem);
    client.write(`GET / HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`);
    await client.saw('ok');
    expect(parent.heads).toEqual([
      `CONNECT ${HONEST}:443 HTTP/1.1\r\nHost: ${HONEST}:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n`,
    ]);
  });

  test('plain HTTP goes through a tunnel too', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const { on } = await bench([rule('plain.test', 80)], { parent: parent.port, origin: far.port });
    const client = await open(on.proxy);
    client.write('GET http://plain.test/ HTTP/1.1\r\nHost: plain.test\r\n\r\n');
    await client.saw('ok');
    expect(parent.heads[0]).toContain(`CONNECT ${HONEST}:80 HTTP/1.1`);
  });

  test('bytes behind the head belong to the tunnel; a body that the head announces does not', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port, (_client, join) =>
      join('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nSSH-2.0-early\r\n'),
    );
    const { on } = await bench([rule(TCP, 5432)], { parent: parent.port, origin: far.port });
    const client = await openConnect(on.proxy, `${TCP}:5432`);
    await client.saw('SSH-2.0-early\r\n');
    client.write('ping');
    await client.saw('ping');
  });
});

describe('the guard stands before it', () => {
  test('forbidden answers never reach the parent', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const rules = [rule('meta.test', 5432), rule('lan.test', 5432)];
    const { on, dialled } = await bench(rules, { parent: parent.port, origin: far.port });
    for (const name of ['meta.test', 'lan.test']) {
      const client = await tryConnect(on, `${name}:5432`);
      await client.saw('403');
    }
    expect(dialled).toEqual([]);
    expect(parent.heads).toEqual([]);
    expect(on.events.map(({ rule: by }) => by)).toEqual(['structural.metadata', 'structural.private']);
  });

  test('a private target that NO_PROXY does not name goes through the parent, this machine never does', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const rules = [rule('lan.test', 5432, { private: true }), rule('host-loopback', 5432)];
    const { on, dialled } = await bench(rules, { parent: parent.port, origin: far.port });
    await openConnect(on.proxy, 'lan.test:5432');
    await openConnect(on.proxy, 'host-loopback:5432');
    expect(parent.heads).toHaveLength(1);
    expect(dialled.map(({ address }) => address)).toEqual([PARENT, '127.0.0.1']);
  });
});

describe('NO_PROXY', () => {
  test.each([
    ['by name', [TCP], `${TCP}:5432`, true],
    ['by suffix', ['.allowed.test'], `${TCP}:5432`, true],
    ['by another suffix', ['.other.test'], `${TCP}:5432`, false],
    ['by range', ['93.184.216.0/24'], `${TCP}:5432`, true],
    ['by another range', ['10.0.0.0/8'], `${TCP}:5432`, false],
    ['by port', [`${TCP}:5432`], `${TCP}:5432`, true],
    ['by another port', [`${TCP}:443`], `${TCP}:5432`, false],
    ['all', ['*'], `${TCP}:5432`, true],
  ])('%s', async (_what, noProxy, authority, direct) => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const { on, dialled } = await bench(
      [rule(TCP, 5432)],
      { parent: parent.port, origin: far.port },
      { noProxy },
    );
    await openConnect(on.proxy, authority);
    expect(parent.heads).toHaveLength(direct ? 0 : 1);
    expect(dialled.map(({ address }) => address)).toEqual([direct ? HONEST : PARENT]);
  });
});

describe('a parent that does not do it', () => {
  const failures: readonly (readonly [string, (client: Socket) => void, string])[] = [
    ['407', (client) => client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'), 'answered 407'],
    ['200 of another protocol', (client) => client.end('SPDY/3 200 OK\r\n\r\n'), 'answered 0'],
    ['closes', (client) => client.end(), 'did not answer'],
    ['resets', (client) => client.resetAndDestroy(), 'did not answer'],
    [
      'a head without end',
      (client) => client.write(`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(40_000)}`),
      'did not answer',
    ],
    ['hangs', () => undefined, 'no connection'],
  ];

  test.each(failures)('%s: 502 with the reason, no record of a denial', async (_what, answer, words) => {
    const far = await startFar();
    const parent = await parentProxy(far.port, answer);
    const { on } = await bench([rule(TCP, 5432)], { parent: parent.port, origin: far.port });
    const client = await tryConnect(on, `${TCP}:5432`);
    const page = await client.saw('}\n');
    expect(page).toContain('502');
    expect(page).toContain(words);
    expect(on.events.map(({ action }) => action)).toEqual(['allow']);
    await until('the parent is left', () =>
      [...parent.sockets].every((socket) => socket.readableEnded || socket.destroyed),
    );
    expect(far.count()).toBe(0);
  });

  test('a credential that is no header value is not sent', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const { on } = await bench(
      [rule(TCP, 5432)],
      { parent: parent.port, origin: far.port },
      { credential: 'corp' },
      { parentAuthorization: () => Promise.resolve('Basic x\r\nX-Injected: 1') },
    );
    const client = await tryConnect(on, `${TCP}:5432`);
    expect(await client.saw('}\n')).toContain('no header value');
    expect(parent.heads).toEqual([]);
  });

  test('an update brings the credential of the new parent with it, never that of the old one', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const parentProxyOf = (credential: string): object => ({
      parentProxy: { url: 'http://parent.test:8080', noProxy: [], credential },
    });
    const { on } = await bench(
      [rule(TCP, 5432)],
      { parent: parent.port, origin: far.port },
      { url: 'http://parent.test:8080', credential: 'old' },
      { parentAuthorization: (credential: string) => Promise.resolve(`Basic ${credential}`) },
    );
    await openConnect(on.proxy, `${TCP}:5432`);
    on.gateway.update({ policy: { ...policy([rule(TCP, 5432)]), ...parentProxyOf('new') } });
    await openConnect(on.proxy, `${TCP}:5432`);
    expect(parent.heads.map((head) => /Basic (.*)\r/.exec(head)?.[1])).toEqual(['old', 'new']);
  });

  test('a URL that is none is refused at once, and an update brings another parent into force', async () => {
    const far = await startFar();
    const parent = await parentProxy(far.port);
    const ports = { parent: parent.port, origin: far.port };
    await expect(bench([], ports, { url: 'https://x.test' })).rejects.toMatchObject({
      code: 'E_POLICY_INVALID',
    });
    const { on, dialled } = await bench([rule(TCP, 5432)], ports);
    expect(() =>
      on.gateway.update({
        policy: { ...policy([]), parentProxy: { url: 'http://u:p@x.test', noProxy: [] } },
      }),
    ).toThrow('parentProxy');
    await openConnect(on.proxy, `${TCP}:5432`);
    expect(on.gateway.update({ policy: policy([rule(TCP, 5432)]) })).toEqual({ closed: 0 });
    await openConnect(on.proxy, `${TCP}:5432`);
    expect(dialled.map(({ address }) => address)).toEqual([PARENT, HONEST]);
  });
});
