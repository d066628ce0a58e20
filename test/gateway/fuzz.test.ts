import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AGENT_TARGETS } from '../../fuzz/agent-frames.ts';
import { fuzzWire } from '../../fuzz/gateway-wire.ts';
import { fuzz, NET_TARGETS } from '../../fuzz/net-parsers.ts';
import { REQUEST_TARGETS } from '../../fuzz/request-parsers.ts';
import { policy, startBench, startOrigin } from './kit.ts';
import type { Bench, Origin } from './kit.ts';

describe('parsers hold their promises for any bytes', () => {
  test.each([...AGENT_TARGETS, ...NET_TARGETS, ...REQUEST_TARGETS].map((target) => [target.name, target] as const))(
    '%s',
    (_name, target) => {
      expect(target.seeds.length).toBeGreaterThan(0);
      for (const seed of target.seeds) target.run(seed);
      fuzz(target, 20_261_121, 10_000);
    },
  );
});

describe('gateway', () => {
  let origin: Origin;
  let bench: Bench;

  beforeAll(async () => {
    origin = await startOrigin(() => undefined);
    bench = await startBench({
      policy: policy([]),
      origin: origin.port,
      limits: { handshakeMs: 100, headMs: 100, lingerMs: 50 },
    });
  });

  afterAll(async () => {
    await bench.gateway.close();
    await origin.close();
  });

  test('garbage on every entry dials nothing and leaves the gateway up', async () => {
    await fuzzWire(bench, NET_TARGETS, 120);
    expect(bench.dialled).toEqual([]);
    expect(bench.asked).toEqual([]);
    expect(bench.gateway.stats().denied).toBeGreaterThan(0);
  });
});
