import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createTcp } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createServer } from 'node:tls';
import type { Server, TlsOptions } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Alpn, SecureDialled, SecureDialler } from '../../src/gateway/tls/contract.ts';
import { createSecureDialler } from '../../src/gateway/tls/dial.ts';
import { createRootStore } from '../../src/gateway/tls/roots.ts';
import type { Allowed } from '../../src/gateway/decide.ts';
import { reset } from '../../src/gateway/wire.ts';
import { portOf, rule, until } from './kit.ts';
import { allowed, dialLocal, newAuthority, originWorld, selfSigned } from './tls-kit.ts';

const NAME = 'api.allowed.test';
const HANDSHAKE_MS = 500;
const world = originWorld();
const H1: readonly Alpn[] = ['http/1.1'];

let dir: string;
let dialler: SecureDialler;
const servers: Server[] = [];

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'gw-dial-'));
  writeFileSync(path.join(dir, 'world.pem'), world.caPem);
  dialler = newDialler();
});

afterEach(async () => {
  dialler.close();
  rmSync(dir, { recursive: true, force: true });
  for (const server of servers.splice(0)) {
    server.close();
    await once(server, 'close');
  }
});

function newDialler(except?: string, trust: readonly string[] = []): SecureDialler {
  const roots = createRootStore({ env: {}, bundles: [path.join(dir, 'world.pem')] });
  return createSecureDialler({ roots, trust, except, limits: { handshakeMs: HANDSHAKE_MS } });
}

interface OriginServer {
  readonly port: number;
  readonly names: unknown[];
  readonly reused: boolean[];
  readonly requests: string[];
  readonly errors: (string | undefined)[];
}

async function origin(options: TlsOptions): Promise<OriginServer> {
  const names: unknown[] = [];
  const reused: boolean[] = [];
  const requests: string[] = [];
  const errors: (string | undefined)[] = [];
  const server = createServer(options, (socket) => {
    names.push(Reflect.get(socket, 'servername'));
    reused.push(socket.isSessionReused());
    socket.on('error', (error: NodeJS.ErrnoException) => {
      errors.push(error.code);
      socket.destroy();
    });
    socket.on('data', (chunk) => {
      requests.push(chunk.toString());
      socket.write('pong');
    });
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(server);
  return { port: portOf(server), names, reused, requests, errors };
}

async function dial(
  port: number,
  target: Allowed = allowed(rule(NAME, 443)),
  alpn = H1,
): Promise<SecureDialled> {
  return dialler.secureDial(target, await dialLocal(port), alpn);
}

/** A verified connection that has said something, so that tickets have arrived. */
async function talk(result: SecureDialled): Promise<void> {
  if (result.state !== 'ok') throw new Error(JSON.stringify(result));
  result.socket.write('ping');
  await once(result.socket, 'data');
  result.socket.destroy();
}

describe('an origin that proves its name', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', async (version) => {
    const { port, names } = await origin({ ...world.leaf(NAME), minVersion: version, maxVersion: version });
    const result = await dial(port);
    expect(result).toMatchObject({ state: 'ok', alpn: 'http/1.1', resumed: false });
    await talk(result);
    expect(names).toEqual([NAME]);
  });

  test.each([
    [['h2', 'http/1.1'], ['h2', 'http/1.1'], 'h2'],
    [['h2', 'http/1.1'], ['http/1.1'], 'http/1.1'],
    [['http/1.1'], ['h2', 'http/1.1'], 'http/1.1'],
    [['h2', 'http/1.1'], undefined, 'http/1.1'],
  ] as const)('we offer %j, it has %j: %s', async (ours, theirs, expected) => {
    const { port } = await origin({
      ...world.leaf(NAME),
      ...(theirs === undefined ? {} : { ALPNProtocols: [...theirs] }),
    });
    const result = await dial(port, undefined, ours);
    expect(result).toMatchObject({ state: 'ok', alpn: expected });
    await talk(result);
  });

  test('an address is proven by an address, and no name is sent', async () => {
    const { port, names } = await origin(world.leaf('93.184.216.34'));
    const target = allowed(rule('93.184.216.34', 443), '93.184.216.34', 'ip');
    await talk(await dial(port, target));
    expect(names).toEqual([false]);
  });

  test('a service on the host is asked for as localhost', async () => {
    const { port, names } = await origin(world.leaf('localhost'));
    await talk(await dial(port, allowed(rule('host-loopback', 443), 'host-loopback', 'host-loopback')));
    expect(names).toEqual(['localhost']);
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    '%s sessions resume for one rule, host and port alone',
    async (version) => {
      const options = { minVersion: version, maxVersion: version };
      const { port, reused } = await origin({ ...world.leaf(NAME), ...options });
      await talk(await dial(port));
      const again = await dial(port);
      expect(again).toMatchObject({ state: 'ok', resumed: true });
      await talk(again);
      await talk(await dial(port, allowed(rule(NAME, 443, { id: 'another rule' }))));
      await talk(await dial(port, allowed(rule(NAME, 8443))));
      expect(reused).toEqual([false, true, false, false]);
    },
  );

  test('a connection that is cut looks cut', async () => {
    const { port, errors } = await origin(world.leaf(NAME));
    const result = await dial(port);
    if (result.state !== 'ok') throw new Error(JSON.stringify(result));
    result.socket.write('ping');
    await once(result.socket, 'data');
    reset(result.socket);
    expect(result.socket.destroyed).toBe(true);
    await until('the origin sees a reset', () => errors.includes('ECONNRESET'));
  });

  test('files of the policy are trusted too', async () => {
    const inHouse = originWorld('In-house CA');
    const file = path.join(dir, 'in-house.pem');
    writeFileSync(file, `a comment\n${inHouse.caPem}`);
    const { port } = await origin(inHouse.leaf(NAME));
    expect(await dial(port)).toMatchObject({ state: 'untrusted' });
    dialler = newDialler(undefined, [file]);
    await talk(await dial(port));
  });
});

describe('an origin that does not', () => {
  const HOUR = 3_600_000;
  const expired = { notBefore: Date.now() - 2 * HOUR, notAfter: Date.now() - HOUR };
  const future = { notBefore: Date.now() + HOUR, notAfter: Date.now() + 2 * HOUR };

  test.each([
    ['expired', world.leaf(NAME, expired), 'has expired'],
    ['from tomorrow', world.leaf(NAME, future), 'not valid yet'],
    ['for another name', world.leaf('evil.test'), 'is for other names: DNS:evil.test'],
    ['for a parent name', world.leaf('allowed.test'), 'is for other names'],
    ['for the dialled address', world.leaf('127.0.0.1'), 'is for other names: IP Address:127.0.0.1'],
    ['self-signed', selfSigned(NAME), 'self-signed'],
    ['of an unknown authority', originWorld('Nobody').leaf(NAME), 'not know'],
    ["of an authority with our authority's name", originWorld().leaf(NAME), 'not know'],
  ])('%s', async (_what, certificate, reason) => {
    const { port, requests } = await origin(certificate);
    const result = await dial(port);
    expect(result).toEqual({
      state: 'untrusted',
      verdict: expect.objectContaining({
        action: 'deny',
        rule: 'structural.tls-upstream',
        reason: expect.stringContaining(reason),
      }),
    });
    expect(requests).toEqual([]);
  });

  test('signed by the sandbox CA, even where that stands in a file of the policy', async () => {
    const authority = newAuthority();
    const file = path.join(dir, 'sandbox.pem');
    writeFileSync(file, world.caPem + authority.pem);
    // The authority's own key cannot be had, so its server context plays the origin.
    const context = authority.contextFor(NAME);
    const { port } = await origin({ SNICallback: (_name, done) => done(null, context) });
    dialler = newDialler(undefined, [file]);
    await talk(await dial(port));
    dialler = newDialler(authority.pem, [file]);
    expect(await dial(port)).toMatchObject({ state: 'untrusted' });
  });

  test('NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing', async () => {
    const { port } = await origin(selfSigned(NAME));
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
    try {
      expect(await dial(port)).toMatchObject({ state: 'untrusted' });
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    }
  });

  test('a session is no way round a certificate that was never good', async () => {
    const { port, reused } = await origin(world.leaf('evil.test'));
    for (let i = 0; i < 3; i++) expect(await dial(port)).toMatchObject({ state: 'untrusted' });
    expect(reused).not.toContain(true);
  });

  test.each([
    ['TLS 1.1', { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }],
    [
      'no common cipher',
      { ciphers: 'ECDHE-ECDSA-AES128-SHA', maxVersion: 'TLSv1.2', ecdhCurve: 'secp521r1', sigalgs: 'ed448' },
    ],
  ] as const)('%s is a failure, not a decision', async (_what, options) => {
    const { port } = await origin({ ...world.leaf(NAME), ...options });
    expect(await dial(port)).toMatchObject({
      state: 'failed',
      why: expect.stringContaining(`${NAME} port 443: TLS failed`),
    });
  });

  test.each([
    ['says nothing', () => undefined, 'no TLS handshake within'],
    ['speaks HTTP', (socket: Socket) => void socket.end('HTTP/1.1 400 Bad\r\n\r\n'), 'TLS failed'],
    ['hangs up', (socket: Socket) => void socket.destroy(), 'TLS failed'],
  ])('a port that %s', async (_what, act, why) => {
    const sockets = new Set<Socket>();
    const server = createTcp((socket) => {
      sockets.add(
        socket
          .resume()
          .on('error', () => undefined)
          .on('close', () => sockets.delete(socket)),
      );
      act(socket);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = await dialLocal(portOf(server));
    const result = await dialler.secureDial(allowed(rule(NAME, 443)), socket, H1);
    expect(result).toMatchObject({ state: 'failed', why: expect.stringContaining(why) });
    expect(socket.destroyed).toBe(true);
    await until('closed at the other end', () => sockets.size === 0);
    server.close();
  });

  test('a trust file that cannot be read is said so, and may be put right', async () => {
    const file = path.join(dir, 'later.pem');
    const { port } = await origin(world.leaf(NAME));
    dialler = newDialler(undefined, [file]);
    expect(await dial(port)).toMatchObject({ state: 'failed', why: expect.stringContaining(file) });
    writeFileSync(file, world.caPem);
    await talk(await dial(port));
  });
});
