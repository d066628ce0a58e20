import { once } from 'node:events';
import type { ClientHttp2Session, ServerHttp2Stream } from 'node:http2';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, test } from 'vitest';
import { GrpcMessages } from '../../src/net/grpc.ts';
import { grpcMessage, HOST, newAuthority, readReply, startH2Origin } from './h2-kit.ts';
import type { H2Origin, Reply } from './h2-kit.ts';
import { ask, h2Through, startWhole } from './h2-gateway-kit.ts';
import type { WholeGateway } from './h2-gateway-kit.ts';
import { until } from './kit.ts';
import { readRule } from './tls-kit.ts';

const sandbox = newAuthority();
const world = newAuthority();
let origin: H2Origin;
let whole: WholeGateway;
let session: ClientHttp2Session;

const call = (method: string): Record<string, string> => ({
  ':method': 'POST',
  ':path': `/pkg.Svc/${method}`,
  'content-type': 'application/grpc',
  te: 'trailers',
});

function answer(stream: ServerHttp2Stream, status = '0'): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status, 'x-details-bin': 'AAE' }));
}

/** What a gRPC server does, by method. */
function serve(stream: ServerHttp2Stream, path: string): void {
  if (path.endsWith('/Unary') || path.endsWith('/Collect')) {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      // Node says "end" for a reset, too.
      if (stream.closed) return;
      answer(stream);
      stream.end(grpcMessage(`got ${Buffer.concat(chunks).length}`));
    });
  } else if (path.endsWith('/Stream')) {
    stream.resume();
    answer(stream);
    for (let i = 0; i < 5; i++) stream.write(grpcMessage(`part ${i}`));
    stream.end();
  } else if (path.endsWith('/Bidi')) {
    answer(stream);
    stream.on('data', (chunk: Buffer) => stream.write(chunk));
    stream.on('end', () => stream.end());
  } else if (path.endsWith('/Fails')) {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5', 'grpc-message': 'no%20such' },
      { endStream: true },
    );
  } else if (path.endsWith('/Early')) {
    answer(stream, '9');
    stream.end(grpcMessage('enough'));
  } else stream.resume();
}

/** The messages of a body. */
function messages(body: Buffer): string[] {
  const out: string[] = [];
  for (let at = 0; at + 5 <= body.length; at += 5 + body.readUInt32BE(at + 1))
    out.push(body.toString('latin1', at + 5, at + 5 + body.readUInt32BE(at + 1)));
  return out;
}

beforeAll(async () => {
  origin = await startH2Origin(world, (stream, headers) => serve(stream, headers[':path'] ?? ''));
});
afterAll(() => origin.close());
beforeEach(async () => {
  const allow = ['Unary', 'Stream', 'Collect', 'Bidi', 'Fails', 'Early', 'Silent'].map((name) => ({
    rpc: `pkg.Svc/${name}`,
  }));
  whole = await startWhole({ sandbox, world }, [readRule(HOST, { allow })], origin.port);
  session = await h2Through(whole.bench, sandbox, HOST);
});
afterEach(async () => {
  session.destroy();
  await whole.bench.gateway.close();
});

describe('gRPC through the gateway', () => {
  test('unary: message, trailers, and what the origin sees', async () => {
    const reply = await ask(
      session,
      { ...call('Unary'), 'grpc-timeout': '5S', 'x-meta': 'm' },
      grpcMessage('hi'),
    );
    expect(messages(reply.body)).toEqual(['got 7']);
    expect(reply.trailers).toMatchObject({ 'grpc-status': '0', 'x-details-bin': 'AAE' });
    expect(origin.streams.at(-1)?.headers).toMatchObject({
      te: 'trailers',
      'grpc-timeout': '5S',
      'x-meta': 'm',
    });
    await until('the record', () => whole.requests.length === 1);
  });

  test('server streaming', async () => {
    const reply = await ask(session, call('Stream'), grpcMessage('go'));
    expect(messages(reply.body)).toEqual(['part 0', 'part 1', 'part 2', 'part 3', 'part 4']);
    expect(reply.trailers?.['grpc-status']).toBe('0');
  });

  test('client streaming; trailers, which no gRPC client sends, go no further', async () => {
    const stream = session.request(call('Collect'), { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'x-from-client': 'yes' }));
    const done = readReply(stream);
    let seen: unknown;
    for (let i = 0; i < 10; i++) stream.write(grpcMessage(`m${i}`));
    await until('the call', () => origin.streams.at(-1)?.headers[':path'] === '/pkg.Svc/Collect');
    origin.streams.at(-1)?.stream.on('trailers', (headers: unknown) => (seen = headers));
    stream.end();
    expect(messages((await done).body)).toEqual(['got 70']);
    expect(seen).toBeUndefined();
  });

  test('bidirectional: each message comes back before the next is sent', async () => {
    const stream = session.request(call('Bidi'));
    const got: string[] = [];
    stream.on('data', (chunk: Buffer) => got.push(...messages(chunk)));
    const trailers = once(stream, 'trailers');
    for (let i = 0; i < 20; i++) {
      stream.write(grpcMessage(`ping ${i}`));
      await until('the echo', () => got.length === i + 1);
    }
    stream.end();
    const [last] = (await trailers) as [Record<string, string>];
    expect(last['grpc-status']).toBe('0');
    expect(got.at(-1)).toBe('ping 19');
  });

  test('trailers only from the origin', async () => {
    const reply = await ask(session, call('Fails'), grpcMessage(''));
    expect(reply.headers).toMatchObject({ ':status': 200, 'grpc-status': '5', 'grpc-message': 'no%20such' });
  });

  test('an origin that ends early', async () => {
    const stream = session.request(call('Early'));
    const done = readReply(stream);
    stream.write(grpcMessage('one'));
    const reply = await done;
    expect(messages(reply.body)).toEqual(['enough']);
    expect(reply.trailers?.['grpc-status']).toBe('9');
    await until('the origin is let go', () => origin.streams.at(-1)?.stream.closed === true);
  });

  test('a refusal says why, as gRPC reads it', async () => {
    const before = origin.streams.length;
    const reply = await ask(session, call('Delete'), grpcMessage('x'));
    expect(reply.headers).toMatchObject({
      ':status': 200,
      'content-type': 'application/grpc',
      'grpc-status': '7',
    });
    expect(reply.headers['grpc-message']).toMatch(/^glovebox: [\x20-\x7e]+$/);
    expect(reply.headers['x-glovebox-denied']).toBeDefined();
    expect(origin.streams.length).toBe(before);
    expect(whole.bench.events.some((event) => event.action === 'deny')).toBe(true);
  });

  test('a message over the cap, and one that is cut short', async () => {
    const before = origin.streams.length;
    const huge = Buffer.from([0, 0xff, 0xff, 0xff, 0xff]);
    const over = await ask(session, call('Unary'), huge);
    expect(over.headers).toMatchObject({ ':status': 200, 'grpc-status': '8' });
    const short = await ask(session, call('Unary'), grpcMessage('abcdef').subarray(0, 8));
    expect(short.headers['grpc-status']).toBe('8');
    const far = origin.streams.slice(before).map(({ stream }) => stream);
    await until('what came to the origin is cut', () => far.every((stream) => stream.closed));
    expect(far.every((stream) => stream.rstCode === 8)).toBe(true);
    expect(whole.bench.events.some((event) => event.rule === 'structural.grpc-message')).toBe(true);
  });

  test('a cancel reaches the origin as CANCEL', async () => {
    const stream = session.request(call('Silent'));
    stream.on('error', () => undefined);
    stream.write(grpcMessage('wait'));
    await until('the call', () => origin.streams.at(-1)?.headers[':path'] === '/pkg.Svc/Silent');
    const far = origin.streams.at(-1)?.stream;
    stream.close(8);
    await until('the cancel', () => far?.closed === true);
    expect(far?.rstCode).toBe(8);
  });

  test('100 calls at once', async () => {
    const replies: Reply[] = await Promise.all(
      Array.from({ length: 100 }, (_, i) => ask(session, call('Unary'), grpcMessage('x'.repeat(i)))),
    );
    expect(replies.map((reply) => messages(reply.body)[0])).toEqual(
      Array.from({ length: 100 }, (_, i) => `got ${i + 5}`),
    );
    expect(replies.every((reply) => reply.trailers?.['grpc-status'] === '0')).toBe(true);
  });
});

test('the helper writes messages as the checker reads them', () => {
  const checker = new GrpcMessages({ messageBytes: 10, compressed: false });
  expect(checker.update(grpcMessage('0123456789'))).toBeUndefined();
  expect(checker.end()).toBeUndefined();
});
