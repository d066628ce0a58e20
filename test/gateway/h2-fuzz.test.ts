import { afterAll, beforeAll, expect, test } from 'vitest';
import fc from 'fast-check';
import { readH2Head } from '../../src/gateway/http/h2-head.ts';
import { dialTls, HOST, newAuthority, OnePool, relay, startFront, startH2Origin } from './h2-kit.ts';
import type { FrontBench, H2Origin } from './h2-kit.ts';
import { until } from './kit.ts';
import { frame, headerBlock, RawH2 } from './h2-wire.ts';
import type { Field } from './h2-wire.ts';

const authority = newAuthority();
let origin: H2Origin;
let pool: OnePool;
let bench: FrontBench;

beforeAll(async () => {
  origin = await startH2Origin(authority, (stream) => {
    stream.resume();
    stream.respond({ ':status': 200 });
    stream.end('ok');
  });
  pool = new OnePool(authority, origin.port);
  bench = await startFront({
    authority,
    run: relay(pool.acquire),
    // Every limit short: whatever state a session is left in, its time must end it.
    limits: { idleMs: 300, headMs: 300, stallMs: 300, upstreamIdleMs: 300, lingerMs: 50 },
  });
});
afterAll(async () => {
  await bench.close();
  pool.close();
  await origin.close();
});

const PSEUDO: readonly Field[] = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':authority', HOST],
  [':path', '/'],
];

const anyFrame = fc
  .record({
    type: fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 255 })),
    flags: fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 32), fc.integer({ min: 0, max: 255 })),
    stream: fc.oneof(fc.constantFrom(0, 1, 2, 3, 5, 7), fc.integer({ min: 0, max: 0xffff_ffff })),
    payload: fc.oneof(
      fc.constantFrom(
        headerBlock(PSEUDO),
        headerBlock([...PSEUDO, ['content-length', '3']]),
        Buffer.from('abc'),
        Buffer.alloc(4),
        Buffer.alloc(8),
      ),
      fc.uint8Array({ maxLength: 60 }),
    ),
  })
  .map(({ type, flags, stream, payload }) => frame(type, flags, stream, payload));

test('any frames in any order: no crash, nothing left, and the next client is served', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyFrame, { maxLength: 30 }), async (frames) => {
      const wire = new RawH2(await dialTls(authority, bench.port));
      wire.start();
      for (const each of frames) wire.send(each);
      await new Promise((resolve) => setImmediate(resolve));
      wire.destroy();
    }),
    { numRuns: 150 },
  );
  await until('all are gone', () => bench.sockets.size === 0, 30_000);
  // Limits of 300 ms end an honest request too, where a loaded machine takes as long to reach the origin.
  bench.relax();
  const wire = new RawH2(await dialTls(authority, bench.port));
  wire.start();
  const stream = wire.request({ headers: PSEUDO, body: 'abc' });
  expect((await wire.settled(stream, 30_000)).status).toBe(200);
  wire.destroy();
});

test('a head that passes has no byte that HTTP/1 could read otherwise', () => {
  const text = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom(
      ':method',
      ':path',
      ':authority',
      'host',
      'cookie',
      'te',
      'content-length',
      'GET',
      '/',
      HOST,
      'https',
      'a\r\nb',
      'x\0',
    ),
  );
  const destination = { host: HOST, port: 443 };
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text), { maxLength: 8 }), fc.boolean(), (extra, ended) => {
      const read = readH2Head([...PSEUDO, ...extra].flat(), ended, destination, 32_768);
      if (!read.ok) return;
      expect(read.headers.join('|')).not.toMatch(/[\0\r\n]/);
      expect(
        read.headers.filter((name, i) => i % 2 === 0 && (name === 'host' || name.startsWith(':'))),
      ).toEqual(['host']);
    }),
    { numRuns: 3_000 },
  );
});
