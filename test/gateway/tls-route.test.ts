import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect, createServer } from 'node:tls';
import type { Server, TlsOptions, TLSSocket } from 'node:tls';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { CertificateAuthority, RootStore } from '../../src/gateway/tls/contract.ts';
import { createRootStore } from '../../src/gateway/tls/roots.ts';
import type { NetworkRule } from '../../src/policy/contract.ts';
import { clientHello } from './hello.ts';
import { HONEST, policy, portOf, rule, startBench, startOrigin, talk, until } from './kit.ts';
import type { Bench, Origin } from './kit.ts';
import { newAuthority, originWorld, readRule, selfSigned } from './tls-kit.ts';

const NAME = 'api.allowed.test';
const world = originWorld();
let dir: string;
let roots: RootStore;
const authority: CertificateAuthority = newAuthority();
const closing: (() => Promise<void>)[] = [];

beforeAll(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gw-route-'));
  writeFileSync(path.join(dir, 'world.pem'), world.caPem);
  roots = createRootStore({ env: {}, bundles: [path.join(dir, 'world.pem')] });
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function bench(rules: readonly NetworkRule[], origin: number, more: object = {}): Promise<Bench> {
  const made = await startBench({
    policy: policy(rules),
    origin,
    answers: { [NAME]: [HONEST], 'a.wild.test': [HONEST], 'git.allowed.test': [HONEST] },
    authority,
    roots,
    limits: { handshakeMs: 500, lingerMs: 200, headMs: 1_000 },
    ...more,
  });
  closing.push(() => made.gateway.close());
  return made;
}

/** An origin that answers HTTP in clear text; what is counted is whether anything reaches it. */
async function plainOrigin(): Promise<Origin> {
  const origin = await startOrigin(
    (socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
  );
  closing.push(() => origin.close());
  return origin;
}

interface SecureOrigin {
  readonly port: number;
  readonly requests: string[];
  /** What each connection was told in SNI. */
  readonly names: unknown[];
  /** Connections open now. */
  readonly open: () => number;
}

async function secureOrigin(options: TlsOptions): Promise<SecureOrigin> {
  const requests: string[] = [];
  const names: unknown[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer(options, (socket) => {
    names.push(Reflect.get(socket, 'servername'));
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      requests.push(chunk.toString('latin1'));
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecure');
    });
  });
  server.on('tlsClientError', () => undefined);
  server.on('connection', (socket: Socket) => sockets.add(socket.on('close', () => sockets.delete(socket))));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { port: portOf(server), requests, names, open: () => sockets.size };
}

const SOCKS = (host: string, port: number): Buffer =>
  Buffer.concat([
    Buffer.from([5, 1, 0, 5, 1, 0, 3, host.length]),
    Buffer.from(host),
    Buffer.from([port >> 8, port & 255]),
  ]);

/** A connection that a program inside would have, as far as its destination's own protocol. */
async function enter(
  on: Bench,
  how: 'connect' | 'socks' | 'transparent',
  port = 443,
  host = NAME,
): Promise<Socket> {
  const entries = { connect: on.proxy, socks: on.socks, transparent: on.transparent };
  const socket = connectTcp({ port: entries[how], host: '127.0.0.1', noDelay: true });
  socket.on('error', () => undefined);
  if (how === 'transparent') return socket;
  socket.write(
    how === 'connect'
      ? `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`
      : SOCKS(host, port),
  );
  let got = Buffer.alloc(0);
  const done = (): boolean => (how === 'connect' ? got.includes('\r\n\r\n') : got.length >= 12);
  while (!done()) got = Buffer.concat([got, (await once(socket, 'data'))[0]]);
  return socket;
}

/** Everything that a TLS client inside gets back for one request. */
function request(
  socket: Socket,
  line: string,
  more: object = {},
): Promise<{ text: string; error: string | undefined }> {
  return new Promise((resolve) => {
    const secure: TLSSocket = connect({ socket, ca: authority.pem, servername: NAME, ...more });
    let text = '';
    let error: string | undefined;
    secure.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (/\r\n\r\n(secure|ok|\{[\s\S]*\})/.test(text)) secure.destroy();
    });
    secure.on('error', (cause: NodeJS.ErrnoException) => (error = cause.code ?? cause.message));
    secure.on('close', () => resolve({ text, error }));
    secure.on('secureConnect', () => void secure.write(line));
  });
}

const GET = (target: string, host = NAME): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
const ENTRIES = ['connect', 'socks', 'transparent'] as const;

describe.each(ENTRIES)('a rule whose requests are read, by %s', (how) => {
  test('clear text is refused', async () => {
    const origin = await plainOrigin();
    const on = await bench([readRule(NAME)], origin.port);
    const socket = await enter(on, how);
    socket.write(GET('/'));
    socket.resume();
    await once(socket, 'close');
    expect(origin.received).toEqual([]);
    expect(on.events).toEqual([
      expect.objectContaining({ action: 'deny', rule: 'structural.tls', host: NAME }),
    ]);
  });

  test('another name in the ClientHello is refused, and nothing is signed for it', async () => {
    const origin = await plainOrigin();
    const on = await bench([readRule(NAME)], origin.port);
    const socket = await enter(on, how);
    expect((await request(socket, GET('/'), { servername: 'evil.test' })).error).toMatch(/UNRECOGNIZED_NAME/);
    expect(origin.received).toEqual([]);
    expect(on.events).toEqual([expect.objectContaining({ action: 'deny', rule: 'structural.tls-name' })]);
  });

  test('a client that does not trust the sandbox gets nothing, and there is a record that says so', async () => {
    const origin = await plainOrigin();
    const on = await bench([readRule(NAME)], origin.port);
    const socket = await enter(on, how);
    const got = await request(socket, GET('/'), { ca: world.caPem });
    expect(got.text).toBe('');
    await until('the record', () => on.events.length === 1);
    expect(on.events[0]).toMatchObject({
      action: 'deny',
      rule: 'structural.tls',
      reason: expect.stringContaining("does not accept the sandbox's certificate"),
    });
    expect(origin.received).toEqual([]);
  });

  test('without an authority there is no way through', async () => {
    const origin = await plainOrigin();
    const on = await bench([readRule(NAME)], origin.port, { authority: undefined });
    const socket = await enter(on, how);
    expect((await request(socket, GET('/'))).error).toBeDefined();
    expect(origin.received).toEqual([]);
    expect(on.events).toEqual([expect.objectContaining({ rule: 'structural.tls' })]);
  });

  test('a request goes to the origin in TLS of its own', async () => {
    const origin = await secureOrigin(world.leaf(NAME));
    const on = await bench([readRule(NAME)], origin.port);
    const got = await request(await enter(on, how), GET('/v1/x'));
    expect(got.text).toMatch(/^HTTP\/1\.1 200[\s\S]*secure$/);
    expect(origin.requests[0]).toMatch(/^GET \/v1\/x HTTP\/1\.1\r\nHost: api\.allowed\.test\r\n/);
    expect(origin.names).toEqual([NAME]);
    expect(on.dialled).toEqual([{ address: HONEST, port: 443 }]);
  });

  test('a path that the rule does not allow is refused', async () => {
    const origin = await secureOrigin(world.leaf(NAME));
    const on = await bench([readRule(NAME, { allow: [{ path: '/v1/repos/**' }] })], origin.port);
    const got = await request(await enter(on, how), GET('/v1/files'));
    expect(got.text).toMatch(/^HTTP\/1\.1 403/);
    expect(origin.requests).toEqual([]);
  });
});

describe('origins that cannot prove who they are', () => {
  const HOUR = 3_600_000;
  test.each([
    [
      'expired',
      () => world.leaf(NAME, { notBefore: Date.now() - 2 * HOUR, notAfter: Date.now() - HOUR }),
      'expired',
    ],
    ['for another name', () => world.leaf('evil.test'), 'other names'],
    ['for the address', () => world.leaf('127.0.0.1'), 'other names'],
    ['self-signed', () => selfSigned(NAME), 'self-signed'],
  ])('%s', async (_what, certificate, why) => {
    const origin = await secureOrigin(certificate());
    const on = await bench([readRule(NAME)], origin.port);
    const got = await request(await enter(on, 'connect'), GET('/'));
    expect(got.text).toMatch(/^HTTP\/1\.1 502/);
    expect(origin.requests).toEqual([]);
    expect(on.events).toContainEqual(
      expect.objectContaining({
        action: 'deny',
        rule: 'structural.tls-upstream',
        reason: expect.stringContaining(why),
      }),
    );
  });

  test('signed by the sandbox CA', async () => {
    const context = authority.contextFor(NAME);
    const origin = await secureOrigin({ SNICallback: (_name, done) => done(null, context) });
    writeFileSync(path.join(dir, 'all.pem'), world.caPem + authority.pem);
    const on = await bench([readRule(NAME)], origin.port, {
      roots: createRootStore({ env: {}, bundles: [path.join(dir, 'all.pem')] }),
    });
    expect((await request(await enter(on, 'connect'), GET('/'))).text).toMatch(/^HTTP\/1\.1 502/);
    expect(origin.requests).toEqual([]);
  });
});

describe('what comes inside', () => {
  test.each([
    ['another Host', GET('/', 'a.wild.test'), /^HTTP\/1\.1 421/],
    ['the preface of HTTP/2 on HTTP/1.1', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^HTTP\/1\.1 [45]/],
    ['TLS in TLS', clientHello({ sni: 'evil.test' }).toString('latin1'), /^(HTTP\/1\.1 400|$)/],
  ])('%s', async (_what, line, expected) => {
    const origin = await secureOrigin(world.leaf(NAME));
    const on = await bench([readRule(NAME), readRule('*.wild.test')], origin.port);
    const got = await request(await enter(on, 'connect'), line);
    expect(got.text).toMatch(expected);
    expect(origin.requests).toEqual([]);
    await until('the record', () => on.events.some((event) => event.action === 'deny'));
  });

  test('ECH GREASE is no obstacle where TLS ends here', async () => {
    const origin = await plainOrigin();
    const on = await bench([readRule(NAME)], origin.port);
    const { bytes } = await talk(on.proxy, [
      `CONNECT ${NAME}:443 HTTP/1.1\r\nHost: ${NAME}:443\r\n\r\n`,
      clientHello({ sni: NAME, ech: true }),
    ]);
    // The hand-made hello has no signature algorithms, so OpenSSL says so; the gate let it pass.
    expect(bytes.includes(Buffer.from([21, 3]))).toBe(true);
    expect(on.events.map((event) => event.rule)).not.toContain('structural.tls-encrypted-name');
  });

  test('a rule that is read and neither https nor http is opaque, and refused', async () => {
    const origin = await plainOrigin();
    const on = await bench([readRule(NAME, {}, { protocol: 'tcp' })], origin.port);
    const { bytes } = await talk(on.proxy, [`CONNECT ${NAME}:443 HTTP/1.1\r\nHost: ${NAME}:443\r\n\r\n`]);
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 403/);
    expect(on.events).toEqual([expect.objectContaining({ rule: 'structural.opaque' })]);
  });
});

describe('a gateway that reads requests', () => {
  test('speaks HTTP/2 to clients that choose it', async () => {
    const origin = await secureOrigin(world.leaf(NAME));
    const on = await bench([readRule(NAME)], origin.port);
    const socket = await enter(on, 'connect');
    const secure = connect({
      socket,
      ca: authority.pem,
      servername: NAME,
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    await once(secure, 'secureConnect');
    expect(secure.alpnProtocol).toBe('h2');
    const session = connectHttp2(`https://${NAME}`, { createConnection: () => secure });
    const stream = session.request({ ':path': '/v1/x' });
    const [headers] = await once(stream, 'response');
    expect(headers[':status']).toBe(200);
    let text = '';
    for await (const chunk of stream) text += String(chunk);
    expect(text).toBe('secure');
    session.destroy();
    expect(origin.requests[0]).toMatch(/^GET \/v1\/x HTTP\/1\.1\r\n/);
  });

  test('leaves nothing behind, however its clients leave', async () => {
    const origin = await secureOrigin(world.leaf(NAME));
    const on = await bench([readRule(NAME)], origin.port);
    const ways = [
      (socket: Socket) => request(socket, GET('/')),
      (socket: Socket) => request(socket, GET('/'), { ca: world.caPem }),
      (socket: Socket) => request(socket, GET('/'), { servername: 'evil.test' }),
      (socket: Socket) => Promise.resolve(socket.resetAndDestroy()),
      (socket: Socket) => Promise.resolve(socket.end(clientHello({ sni: NAME }))),
      (socket: Socket) => Promise.resolve(socket.write(clientHello({ sni: NAME }).subarray(0, 40))),
    ];
    const sockets: Socket[] = [];
    for (let i = 0; i < 60; i++) {
      const socket = await enter(on, ENTRIES[i % 2] ?? 'connect');
      sockets.push(socket.resume());
      await ways[i % ways.length]?.(socket);
    }
    await on.gateway.close();
    await until('every client is gone', () => sockets.every((socket) => socket.closed));
    await until('every connection to the origin is gone', () => origin.open() === 0);
  });
});

describe('ssh rules', () => {
  const ssh = rule('git.allowed.test', 22, { protocol: 'ssh' });
  const connectHead = 'CONNECT git.allowed.test:22 HTTP/1.1\r\nHost: git.allowed.test:22\r\n\r\n';

  async function sshOrigin(greeting: string): Promise<Origin> {
    const origin = await startOrigin((socket, all) => {
      if (all.length > 0) socket.write('KEX');
    });
    origin.server.on('connection', (socket: Socket) => void socket.write(greeting));
    closing.push(() => origin.close());
    return origin;
  }

  test('SSH goes on, in one piece or byte by byte', async () => {
    const origin = await sshOrigin('SSH-2.0-server\r\n');
    const on = await bench([ssh], origin.port);
    const { bytes } = await talk(on.proxy, [connectHead, ...'SSH-2.0-client\r\n'.split('')], 200);
    expect(bytes.toString()).toMatch(/SSH-2\.0-server\r\n(KEX)+$/);
    expect(origin.received[0]?.toString()).toBe('SSH-2.0-client\r\n');
    expect(on.events).toEqual([expect.objectContaining({ action: 'allow', address: HONEST })]);
  });

  test.each([
    ['TLS', clientHello({ sni: 'git.allowed.test' })],
    ['HTTP', 'GET / HTTP/1.1\r\n\r\n'],
    ['nearly SSH', 'SSH-1.5-x\r\n'],
  ])('%s is cut, and nothing of it arrives', async (_what, first) => {
    const origin = await sshOrigin('SSH-2.0-server\r\n');
    const on = await bench([ssh], origin.port);
    const { closed } = await talk(on.proxy, [connectHead, first], 300);
    expect(closed).toBe(true);
    expect(Buffer.concat(origin.received).length).toBe(0);
    expect(on.events).toEqual([
      expect.objectContaining({
        action: 'deny',
        rule: 'structural.ssh',
        reason: expect.stringContaining('client'),
      }),
    ]);
    await until('upstream gone', () => origin.sockets.size === 0);
  });

  test('a client that waits gets the greeting of the server, if that is SSH', async () => {
    const origin = await sshOrigin('SSH-2.0-server\r\n');
    const on = await bench([ssh], origin.port);
    const socket = await enter(on, 'connect', 22, 'git.allowed.test');
    expect(String((await once(socket, 'data'))[0])).toBe('SSH-2.0-server\r\n');
    socket.write('SSH-2.0-late\r\n');
    expect(String((await once(socket, 'data'))[0])).toBe('KEX');
    socket.destroy();
    expect(origin.received[0]?.toString()).toBe('SSH-2.0-late\r\n');
  });

  test.each([
    ['that is SSH', 'SSH-2.0-server\r\n', true],
    ['that also speaks the first version', 'SSH-1.99-server\r\n', true],
    ['that is none', '220 mail ESMTP\r\n', false],
    ['that speaks the first version alone', 'SSH-1.5-server\r\n', false],
    ['that waits for the client', '', true],
    ['that answers as another', '', false],
  ])('a client that greets first reaches a server %s: %j, %s', async (_what, greeting, passes) => {
    const answer = passes ? 'SSH-2.0-server\r\n' : 'HTTP/1.1 400 Bad Request\r\n';
    const origin = await startOrigin((socket, all) => {
      if (greeting === '' && all.length > 0) socket.write(answer);
    });
    if (greeting !== '') origin.server.on('connection', (socket: Socket) => void socket.write(greeting));
    closing.push(() => origin.close());
    const on = await bench([ssh], origin.port);
    const socket = await enter(on, 'connect', 22, 'git.allowed.test');
    socket.write('SSH-2.0-client\r\nKEXINIT');
    if (passes) {
      expect(String((await once(socket, 'data'))[0])).toBe(greeting || answer);
      await until('all of it', () => Buffer.concat(origin.received).includes('KEXINIT'));
      expect(Buffer.concat(origin.received).toString()).toBe('SSH-2.0-client\r\nKEXINIT');
      return;
    }
    socket.resume();
    await until('cut', () => socket.closed);
    // A server that waits gets the greeting, and nothing that follows it.
    expect(Buffer.concat(origin.received).toString()).toBe(greeting === '' ? 'SSH-2.0-client\r\n' : '');
    expect(on.events).toMatchObject([
      { action: 'deny', rule: 'structural.ssh', reason: expect.stringContaining('server') },
    ]);
  });

  test('a server that is not SSH is cut too', async () => {
    const origin = await sshOrigin('220 mail ESMTP\r\n');
    const on = await bench([ssh], origin.port);
    const socket = await enter(on, 'connect', 22, 'git.allowed.test');
    socket.resume();
    await until('cut', () => socket.closed);
    expect(on.events).toEqual([
      expect.objectContaining({
        action: 'deny',
        rule: 'structural.ssh',
        reason: expect.stringContaining('server'),
      }),
    ]);
  });
});
