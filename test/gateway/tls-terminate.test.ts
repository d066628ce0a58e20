import { once } from 'node:events';
import { connect as connectTcp, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { connect } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CertificateAuthority } from '../../src/gateway/tls/contract.ts';
import { reset } from '../../src/gateway/wire.ts';
import { portOf, sleep, until } from './kit.ts';
import { allowed, ask, HANDSHAKE_MS, newAuthority, readRule, startTerminating } from './tls-kit.ts';
import type { TerminatingServer } from './tls-kit.ts';

const NAME = 'api.allowed.test';
let authority: CertificateAuthority;
let server: TerminatingServer;

beforeEach(async () => {
  authority = newAuthority();
  server = await startTerminating(authority, allowed(readRule(NAME)));
});

afterEach(async () => {
  await server.close();
});

const good = (): { port: number; ca: string; servername: string } => ({
  port: server.port,
  ca: authority.pem,
  servername: NAME,
});

describe('handshakes', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', async (version) => {
    const got = await ask({ ...good(), minVersion: version, maxVersion: version });
    expect(got).toMatchObject({ error: undefined, protocol: version });
    expect(got.text).toContain(`${NAME} none`);
    expect(got.certificate).toMatchObject({ subjectaltname: `DNS:${NAME}`, subject: { CN: NAME } });
  });

  test('TLS 1.1 is refused', async () => {
    const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    expect((await ask({ ...good(), ...old })).error).toMatch(/PROTOCOL/);
    expect(server.results).toEqual([
      { state: 'refused', verdict: expect.objectContaining({ rule: 'structural.tls' }) },
    ]);
  });

  test.each([
    [true, ['h2', 'http/1.1'], 'h2'],
    [true, ['http/1.1', 'h2'], 'h2'],
    [true, ['http/1.1'], 'http/1.1'],
    [false, ['h2', 'http/1.1'], 'http/1.1'],
    [true, ['http/1.0'], 'http/1.0'],
    [true, [], false],
  ])('with http2 %s a client that offers %j gets %s', async (http2, offered, expected) => {
    server.target = allowed(readRule(NAME, { http2 }));
    const got = await ask({ ...good(), ...(offered.length === 0 ? {} : { ALPNProtocols: offered }) });
    expect(got).toMatchObject({ error: undefined, alpn: expected });
    expect(server.results).toEqual([
      expect.objectContaining({ state: 'ok', alpn: expected === 'h2' ? 'h2' : 'http/1.1' }),
    ]);
  });

  test('a client of HTTP/2 alone is told which line would let it in', async () => {
    server.target = allowed(readRule(NAME, { http2: false }));
    expect((await ask({ ...good(), ALPNProtocols: ['h2'] })).error).toMatch(/NO_APPLICATION_PROTOCOL/);
    expect(server.results).toEqual([
      {
        state: 'refused',
        verdict: {
          action: 'deny',
          rule: 'structural.tls',
          reason: 'the client speaks no HTTP/1.1',
          remedy: `set \`http2: true\` in allow:${NAME}`,
        },
      },
    ]);
  });

  test('a rule for an address takes clients without a name, and proves the address', async () => {
    const base = readRule('93.184.216.34');
    server.target = allowed(base, '93.184.216.34', 'ip');
    const got = await ask({ port: server.port, ca: authority.pem, checkServerIdentity: () => undefined });
    expect(got.certificate?.subjectaltname).toBe('IP Address:93.184.216.34');
  });

  test('the ClientHello in many pieces, and with a request right behind the Finished', async () => {
    const raw = connectTcp({ port: server.port, host: '127.0.0.1', noDelay: true });
    const real = await startRelay(raw);
    const got = await ask({ port: real.port, ca: authority.pem, servername: NAME });
    expect(got.text).toContain(NAME);
    await real.close();
  });
});

/** Relays in pieces of seven bytes, each in a segment of its own. */
async function startRelay(upstream: Socket): Promise<{ port: number; close: () => Promise<void> }> {
  const relay = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    void relayPieces(socket, upstream);
    upstream.on('error', () => socket.destroy()).pipe(socket);
  }).listen(0, '127.0.0.1');
  await once(relay, 'listening');
  const close = async (): Promise<void> => {
    upstream.destroy();
    relay.close();
    await once(relay, 'close');
  };
  return { port: portOf(relay), close };
}

async function relayPieces(from: Socket, to: Socket): Promise<void> {
  try {
    for await (const chunk of from) await sendPieces(to, chunk);
  } catch {
    to.destroy();
  }
}

async function sendPieces(to: Socket, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length; at += 7) {
    to.write(chunk.subarray(at, at + 7));
    if (at < 140) await sleep(1);
  }
}

describe('resumption', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    '%s: within one name, never with a ticket of another',
    async (version) => {
      const options = { ...good(), minVersion: version, maxVersion: version };
      const first = await ask(options);
      expect(first.session).toBeDefined();
      const session = first.session ?? Buffer.alloc(0);
      expect(await ask({ ...options, session })).toMatchObject({ reused: true, error: undefined });
      server.target = allowed(readRule('*.wild.test'), 'a.wild.test');
      const other = await ask({ ...options, servername: 'a.wild.test', session });
      expect(other).toMatchObject({ reused: false, error: undefined });
      expect(other.certificate?.subjectaltname).toBe('DNS:a.wild.test');
    },
  );

  test('a ticket of one sandbox is nothing to another', async () => {
    const { session } = await ask(good());
    const second = newAuthority();
    const elsewhere = await startTerminating(second, allowed(readRule(NAME)));
    const got = await ask({
      port: elsewhere.port,
      ca: second.pem,
      servername: NAME,
      session: session ?? Buffer.alloc(0),
    });
    expect(got).toMatchObject({ reused: false, error: undefined });
    await elsewhere.close();
  });
});

describe('clients that do not come through', () => {
  test('one that leaves when it sees the certificate is a refusal', async () => {
    const raw = connectTcp({ port: server.port, host: '127.0.0.1' });
    raw.on('error', () => undefined).once('data', () => raw.destroy());
    raw.write(tls12Hello());
    await until('gone', () => server.results.length === 1 && server.clients.size === 0);
    expect(server.results).toEqual([
      {
        state: 'refused',
        verdict: expect.objectContaining({ reason: expect.stringContaining('it left when it saw it') }),
      },
    ]);
  });

  test('one that half-closes behind its ClientHello is not waited for', async () => {
    const raw = connectTcp({ port: server.port, host: '127.0.0.1', allowHalfOpen: true });
    raw.on('error', () => undefined).resume();
    const started = Date.now();
    raw.end(tls12Hello());
    await until('gone', () => server.results.length === 1 && server.clients.size === 0);
    expect(Date.now() - started).toBeLessThan(HANDSHAKE_MS);
    raw.destroy();
  });

  test('one that stops after its ClientHello is cut at the time limit', async () => {
    const raw = connectTcp({ port: server.port, host: '127.0.0.1' });
    raw.on('error', () => undefined).resume();
    raw.write(tls12Hello());
    await until('cut', () => server.results.length === 1, HANDSHAKE_MS * 3);
    expect(server.results).toEqual([
      {
        state: 'refused',
        verdict: expect.objectContaining({ reason: expect.stringContaining('no TLS handshake within') }),
      },
    ]);
    await until('closed', () => server.clients.size === 0);
  });

  test('one that sends garbage after its ClientHello', async () => {
    const raw = connectTcp({ port: server.port, host: '127.0.0.1' });
    raw.on('error', () => undefined).resume();
    raw.write(Buffer.concat([tls12Hello(), Buffer.alloc(600, 0x41)]));
    await until('cut', () => server.results.length === 1 && server.clients.size === 0);
    expect(server.results[0]).toMatchObject({ state: 'refused', verdict: { rule: 'structural.tls' } });
  });

  test('garbage after the handshake closes the connection, and nothing else', async () => {
    const raw = connectTcp({ port: server.port, host: '127.0.0.1', noDelay: true });
    const relay = await startRelay(raw);
    const secure = connect({ port: relay.port, host: '127.0.0.1', ca: authority.pem, servername: NAME });
    secure.on('error', () => undefined);
    await once(secure, 'secureConnect');
    await until('terminated', () => server.results.length === 1);
    raw.write('A'.repeat(400));
    await until('closed', () => server.clients.size === 0);
    await relay.close();
    expect((await ask(good())).text).toContain(NAME);
  });

  test('a connection that is cut looks cut', async () => {
    const cutting = await startTerminating(authority, allowed(readRule(NAME)), (socket) => {
      socket.once('data', () => reset(socket));
    });
    const got = await ask({ port: cutting.port, ca: authority.pem, servername: NAME });
    expect(got).toMatchObject({ text: '', error: 'ECONNRESET' });
    await until('closed', () => cutting.clients.size === 0);
    await cutting.close();
  });

  test('without an authority there is an alert and a verdict, never a way through', async () => {
    const bare = await startTerminating(undefined, allowed(readRule(NAME)));
    expect((await ask({ port: bare.port, servername: NAME })).error).toMatch(/ALERT_INTERNAL_ERROR/);
    expect(bare.results).toEqual([
      {
        state: 'refused',
        verdict: expect.objectContaining({ reason: 'this gateway has no certificate authority' }),
      },
    ]);
    await bare.close();
  });
});

/** A ClientHello that OpenSSL answers: with the curves, points and signature algorithms it asks for. */
function tls12Hello(): Buffer {
  const hex = (text: string): number[] => [...Buffer.from(text, 'hex')];
  const name = Buffer.from(NAME);
  const sni = [0, 0, 0, name.length + 5, 0, name.length + 3, 0, 0, name.length, ...name];
  const extensions = [...sni, ...hex('000a000400020017'), ...hex('000b00020100'), ...hex('000d000400020403')];
  const body = [
    3,
    3,
    ...Array.from({ length: 32 }, (_, i) => i),
    0,
    0,
    2,
    0xc0,
    0x2b,
    1,
    0,
    0,
    extensions.length,
    ...extensions,
  ];
  return Buffer.from([22, 3, 1, 0, body.length + 4, 1, 0, 0, body.length, ...body]);
}
