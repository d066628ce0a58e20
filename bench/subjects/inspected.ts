import path from 'node:path';
import type { Context, Subject } from '../lib/context.ts';
import { Helper } from '../lib/helper.ts';
import { HOSTS, HTTP1_PORT } from '../lib/inspected-gateway.ts';
import { setStage, through, type Route, type Stage } from '../lib/inspected-routes.ts';
import type { Comparison, Series, Skip, Unit } from '../lib/result.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { against, ratio } from '../lib/stats.ts';
import type { Way } from '../lib/tls-client.ts';

const ROUNDS = 5;
const IDLE_ROUNDS = 3;
const COUNTS = {
  bulkMiB: 128,
  uploadMiB: 32,
  oneLane: 2000,
  lanes: 8000,
  connections: 150,
  http2: 4000,
  messages: 20_000,
} as const;
const MANY = 20;

const METRICS = {
  download: 'MiB/s',
  upload: 'MiB/s',
  'requests, 1 lane': '1/s',
  'p50, 1 lane': 'ms',
  'p99, 1 lane': 'ms',
  'requests, 16 lanes': '1/s',
  'p50, 16 lanes': 'ms',
  'p99, 16 lanes': 'ms',
  'new connections': '1/s',
  'CPU per MiB down': 'ms',
  'CPU per request': 'ms',
  'CPU per new connection': 'ms',
} as const satisfies Record<string, Unit>;

/**
 * TLS that ends in the gateway, without a sandbox around the client: one client, gateway and origin process each. The rules have
 * methods, paths and a pin; scrubbing and DLP are arms.
 */
export const inspected: Subject = {
  name: 'inspected',
  summary: 'TLS through the gateway: read and judged, scrubbed, scanned, opaque; HTTP/2, WebSocket; memory',
  run: async (context) => {
    const stage = await setStage(context);
    try {
      const { series, skips } = await measure(context, stage);
      return { series, comparisons: comparisonsOf(series), skips };
    } finally {
      stage.end();
    }
  },
};

async function measure(
  context: Context,
  stage: Stage,
): Promise<{ readonly series: readonly Series[]; readonly skips: readonly Skip[] }> {
  const { budgetMs } = context;
  const rounds = context.rounds(ROUNDS);
  const arms = stage.routes.map((route) => ({
    name: route.name,
    command: 'inspected',
    sample: () => sample(stage.client, route),
  }));
  const series = [...(await interleave({ arms, metrics: METRICS, rounds, warmups: 1, budgetMs }))];
  const skips: Skip[] = stage.noPeer === undefined ? [] : [{ label: 'srt', why: stage.noPeer }];
  for (const one of EXTRAS) {
    const { arms: able, skips: unable } = await ableArms(stage, one);
    const options = { arms: able, metrics: { [one.metric]: '1/s' as const }, rounds, warmups: 0, budgetMs };
    series.push(...(await interleave(options)));
    skips.push(...unable);
  }
  series.push(...(await idle(context, stage)));
  return { series, skips };
}

/** One sample of a route; the processor time is that of the process between. */
async function sample(client: Helper, route: Route): Promise<Readonly<Record<string, number>>> {
  const ask = (job: object) => costed(client, route, { ...route.http1, ...job });
  const down = await ask({ job: 'bulk', amount: COUNTS.bulkMiB });
  const up = await ask({ job: 'upload', amount: COUNTS.uploadMiB });
  const one = await ask({ job: 'requests', amount: COUNTS.oneLane, lanes: 1 });
  const many = await ask({ job: 'requests', amount: COUNTS.lanes, lanes: 16 });
  const fresh = await ask({ job: 'connections', amount: COUNTS.connections });
  return {
    download: down['download'] ?? 0,
    upload: up['upload'] ?? 0,
    'requests, 1 lane': one['rate'] ?? 0,
    'p50, 1 lane': one['p50'] ?? 0,
    'p99, 1 lane': one['p99'] ?? 0,
    'requests, 16 lanes': many['rate'] ?? 0,
    'p50, 16 lanes': many['p50'] ?? 0,
    'p99, 16 lanes': many['p99'] ?? 0,
    'new connections': fresh['rate'] ?? 0,
    ...each('CPU per MiB down', down, COUNTS.bulkMiB + 4),
    ...each('CPU per request', many, COUNTS.lanes * 1.125),
    ...each('CPU per new connection', fresh, COUNTS.connections),
  };
}

function each(
  metric: keyof typeof METRICS,
  { cpu }: Readonly<Record<string, number>>,
  amount: number,
): Readonly<Record<string, number>> {
  return cpu === undefined ? {} : { [metric]: cpu / amount };
}

async function costed(
  client: Helper,
  { between }: Route,
  job: object,
): Promise<Readonly<Record<string, number>>> {
  if (between === undefined) return client.numbers(job);
  const before = (await between.numbers({}))['cpu'] ?? 0;
  const answer = await client.numbers(job);
  return { ...answer, cpu: ((await between.numbers({}))['cpu'] ?? 0) - before };
}

interface Extra {
  readonly metric: string;
  readonly job: object;
  readonly way: (route: Route) => Way;
}

const EXTRAS: readonly Extra[] = [
  {
    metric: 'HTTP/2, 32 at once',
    job: { job: 'http2', amount: COUNTS.http2, lanes: 32 },
    way: ({ http2 }) => http2,
  },
  {
    metric: 'WebSocket messages',
    job: { job: 'websocket', amount: COUNTS.messages },
    way: ({ http1 }) => http1,
  },
];

/** Every route is tried once: one that cannot do it is told of with its own words. */
async function ableArms(
  { client, routes }: Stage,
  extra: Extra,
): Promise<{ readonly arms: readonly Arm[]; readonly skips: readonly Skip[] }> {
  const arms: Arm[] = [];
  const skips: Skip[] = [];
  for (const route of routes) {
    const sampleOf = async () => {
      const { rate = 0 } = await client.numbers({ ...extra.way(route), ...extra.job });
      return { [extra.metric]: rate };
    };
    try {
      await sampleOf();
      arms.push({ name: route.name, command: 'inspected', sample: sampleOf });
    } catch (error) {
      skips.push({
        label: `${route.name}: ${extra.metric}`,
        why: error instanceof Error ? error.message : '',
      });
    }
  }
  return { arms, skips };
}

/** What one more idle gateway takes: a process with many of them less a process with one, each after a request of its own. */
async function idle(context: Context, stage: Stage): Promise<readonly Series[]> {
  const script = path.join(context.programs, 'inspected-idle.mjs');
  const arm: Arm = {
    name: 'idle gateway',
    command: `inspected, ${MANY + 1} gateways less 1`,
    sample: async () => {
      const one = await residentWith(1, script, stage);
      const many = await residentWith(MANY + 1, script, stage);
      return { fresh: (many.fresh - one.fresh) / MANY, used: (many.used - one.used) / MANY };
    },
  };
  return interleave({
    arms: [arm],
    metrics: { fresh: 'MiB', used: 'MiB' },
    rounds: context.rounds(IDLE_ROUNDS),
    warmups: 0,
    budgetMs: context.budgetMs,
  });
}

async function residentWith(
  gateways: number,
  script: string,
  { client, ca, ports }: Stage,
): Promise<{ readonly fresh: number; readonly used: number }> {
  const helper = new Helper('the idle gateways', script, { nodeOptions: ['--expose-gc'] });
  try {
    const fresh = await helper.ask({ gateways, ca, ...ports });
    const doors: unknown[] = Array.isArray(fresh['doors']) ? fresh['doors'] : [];
    for (const door of doors) {
      if (typeof door !== 'object' || door === null) continue;
      const way = through({ ...door }, HOSTS.both, HTTP1_PORT, ca);
      await client.numbers({ ...way, job: 'connections', amount: 1 });
    }
    const used = await helper.numbers({});
    return { fresh: Number(fresh['memory']), used: used['memory'] ?? 0 };
  } finally {
    helper.end();
  }
}

function comparisonsOf(series: readonly Series[]): readonly Comparison[] {
  const of = (route: string, metric: string): Series | undefined => find(series, `${route}: ${metric}`);
  const beside = (pair: readonly [string, string], metric: string, least?: number): readonly Comparison[] =>
    ratio({
      label: `${metric}: ${pair.join(' / ')}`,
      of: of(pair[0], metric),
      to: of(pair[1], metric),
      ...(least === undefined ? {} : { target: { at: 'least', value: least } }),
    });
  const most = (route: string, metric: string, value: number): readonly Comparison[] =>
    against(of(route, metric), { at: 'most', value });
  const ourBest = 'glovebox inspected';
  return [
    ...beside(['glovebox opaque', 'direct'], 'download', 0.6),
    ...beside([ourBest, 'direct'], 'download', 0.35),
    ...beside(['glovebox + both', 'direct'], 'download'),
    ...beside([ourBest, 'direct'], 'upload'),
    ...beside(['glovebox + DLP', 'direct'], 'upload'),
    ...beside([ourBest, 'direct'], 'requests, 1 lane'),
    ...beside([ourBest, 'direct'], 'requests, 16 lanes', 0.25),
    ...beside(['glovebox + both', 'direct'], 'requests, 16 lanes'),
    ...most(ourBest, 'p99, 16 lanes', 20),
    ...most(ourBest, 'CPU per new connection', 1.6),
    ...most('idle gateway', 'used', 3),
    ...beside([ourBest, 'direct'], 'HTTP/2, 32 at once'),
    ...beside([ourBest, 'direct'], 'WebSocket messages'),
    ...beside([ourBest, 'srt inspected'], 'download'),
    ...beside([ourBest, 'srt inspected'], 'upload'),
    ...beside([ourBest, 'srt inspected'], 'requests, 1 lane'),
    ...beside([ourBest, 'srt inspected'], 'requests, 16 lanes'),
    ...beside([ourBest, 'srt inspected'], 'new connections'),
    ...beside([ourBest, 'srt inspected'], 'CPU per new connection'),
    ...beside(['glovebox opaque', 'srt opaque'], 'download'),
    ...beside(['glovebox opaque', 'srt opaque'], 'new connections'),
  ];
}
