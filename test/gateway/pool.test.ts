import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { Closing, open } from './client-kit.ts';
import { HONEST, policy, rule, startBench, startOrigin, until } from './kit.ts';
import type { Bench, Origin } from './kit.ts';

const NAME = 'plain.test';
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

const closing = new Closing();
afterEach(() => closing.all());

interface World {
  readonly bench: Bench;
  readonly origin: Origin;
  /** Lets the requests to `/slow` have their answer. */
  readonly finish: () => void;
}

/** An origin that may be spoken to over one connection at a time. */
async function world(): Promise<World> {
  const slow: Socket[] = [];
  const origin = await startOrigin((socket, _all, chunk) => {
    if (chunk.includes('/slow')) slow.push(socket);
    else socket.write(OK);
  });
  closing.add(() => origin.close());
  const bench = await startBench({
    policy: policy([rule(NAME, 80)]),
    origin: origin.port,
    answers: { [NAME]: [HONEST] },
    limits: { poolSockets: 1, lingerMs: 200 },
  });
  closing.add(() => bench.gateway.close());
  const finish = (): void => slow.splice(0).forEach((socket) => void socket.write(OK));
  return { bench, origin, finish };
}

const get = (path: string): string => `GET http://${NAME}${path} HTTP/1.1\r\nHost: ${NAME}\r\n\r\n`;

async function ask(on: Bench, path: string): Promise<Awaited<ReturnType<typeof open>>> {
  const client = await open(on.proxy);
  client.write(get(path));
  // Long enough to be read and to wait for its turn.
  await delay(100);
  return client;
}

describe('requests that wait for a connection', () => {
  test('one that has left does not keep the others waiting', async () => {
    const { bench, origin, finish } = await world();
    const first = await ask(bench, '/slow');
    await until('the origin is asked', () => Buffer.concat(origin.received).includes('/slow'));
    const left = await ask(bench, '/left');
    const waits = await ask(bench, '/waits');
    left.socket.destroy();
    await delay(200);
    const since = performance.now();
    finish();
    await first.saw('ok');
    await waits.saw('ok');
    // Else it would be as long as an idle connection is kept.
    expect(performance.now() - since).toBeLessThan(5_000);
    expect(Buffer.concat(origin.received).toString()).not.toContain('/left');
  });

  test('hundreds that come and leave do not keep it waiting either', async () => {
    const { bench, origin, finish } = await world();
    const first = await ask(bench, '/slow');
    await until('the origin is asked', () => Buffer.concat(origin.received).includes('/slow'));
    for (let round = 0; round < 5; round++) {
      const clients = await Promise.all(Array.from({ length: 40 }, () => ask(bench, '/left')));
      for (const client of clients) client.socket.destroy();
    }
    const waits = await ask(bench, '/waits');
    finish();
    await first.saw('ok');
    await waits.saw('ok');
  });
});
