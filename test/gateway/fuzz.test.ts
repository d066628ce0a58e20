import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AGENT_TARGETS } from '../../fuzz/agent-frames.ts';
import { fuzzWire } from '../../fuzz/gateway-wire.ts';
import { AttachField, CODE_TARGETS } from '../../fuzz/code-streams.ts';
import { LayerField, layerTargets } from '../../fuzz/image-layers.ts';
import { IMAGE_TARGETS } from '../../fuzz/image-parsers.ts';
import { fuzz, fuzzAsync, NET_TARGETS } from '../../fuzz/net-parsers.ts';
import { REQUEST_TARGETS } from '../../fuzz/request-parsers.ts';
import { policy, startBench, startOrigin } from './kit.ts';
import type { Bench, Origin } from './kit.ts';

describe('parsers hold their promises for any bytes', () => {
  const targets = [...AGENT_TARGETS, ...CODE_TARGETS, ...IMAGE_TARGETS, ...NET_TARGETS, ...REQUEST_TARGETS];
  test.each(targets.map((target) => [target.name, target] as const))('%s', (_name, target) => {
    expect(target.seeds.length).toBeGreaterThan(0);
    for (const seed of target.seeds) target.run(seed);
    fuzz(target, 20_261_121, 10_000);
  });

  test('image layers', async () => {
    using field = new LayerField();
    for (const target of layerTargets(field)) {
      for (const seed of target.seeds) await target.run(seed);
      await fuzzAsync(target, { seed: 20_261_121, iterations: 1000 });
    }
  });

  test('attach requests', async () => {
    await using field = await new AttachField().open();
    const target = field.target();
    for (const seed of target.seeds) await target.run(seed);
    await fuzzAsync(target, { seed: 20_261_121, iterations: 1000 });
  });
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
