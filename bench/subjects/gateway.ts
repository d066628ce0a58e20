import { spawn, type ChildProcess } from 'node:child_process';
import { copyFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { ended, firstChunk } from '../lib/child.ts';
import { gloveboxRun, type Context, type Subject } from '../lib/context.ts';
import { numbersOf, type Invocation } from '../lib/command.ts';
import { readNumbers } from '../lib/json.ts';
import { peerSettings } from '../lib/peer.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { ratio } from '../lib/stats.ts';

const ROUNDS = 5;
const COUNTS = { bulkMiB: 256, requests: 4000, connections: 150 } as const;
const CLIENT = 'client.mjs';

interface Origin {
  readonly child: ChildProcess;
  /** The ports that the policy opens as opaque TCP and as HTTP. */
  readonly tcp: number;
  readonly http: number;
}

/** What the way out costs: a client inside, an origin on the host's loopback: one request at a time, then 16 connections at once. */
export const gateway: Subject = {
  name: 'gateway',
  summary: 'bulk, keep-alive requests and new connections from inside a sandbox to the host’s loopback',
  run: async (context) => {
    const origin = await startOrigin(context);
    const gone = ended(origin.child, 'the origin');
    try {
      return await measure(context, origin);
    } finally {
      origin.child.stdin?.end();
      await gone;
    }
  },
};

async function startOrigin({ programs }: Context): Promise<Origin> {
  const script = path.join(programs, 'network-origin.mjs');
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const { tcp = 0, http = 0 } = readNumbers(await firstChunk(child.stdout));
  return { child, tcp, http };
}

async function measure(context: Context, origin: Origin): ReturnType<Subject['run']> {
  const workspace = context.place.workspace('gateway');
  copyFileSync(path.join(context.programs, 'network-client.mjs'), path.join(workspace, CLIENT));
  const { arms, why } = armsOf(context, origin, workspace);
  const metrics = {
    bulk: 'MiB/s',
    'keep-alive': '1/s',
    'keep-alive, 16 lanes': '1/s',
    'new connections': '1/s',
  } as const;
  const { rounds, budgetMs } = context;
  const series = await interleave({ arms, metrics, rounds: rounds(ROUNDS), warmups: 1, budgetMs });
  const of = (arm: string, metric: keyof typeof metrics) => find(series, `${arm}: ${metric}`);
  const beside = (label: string, pair: readonly [string, string], metric: keyof typeof metrics) => ({
    label: `${label}, ${metric}: ${pair.join(' / ')}`,
    of: of(pair[0], metric),
    to: of(pair[1], metric),
  });
  return {
    series,
    comparisons: [
      ...ratio({
        ...beside('direct', ['glovebox tcp', 'direct'], 'bulk'),
        target: { at: 'least', value: 0.55 },
      }),
      ...ratio(beside('direct', ['glovebox http', 'direct'], 'bulk')),
      ...ratio({
        ...beside('peer', ['glovebox proxy', 'srt proxy'], 'bulk'),
        target: { at: 'least', value: 2 },
      }),
      ...ratio({
        ...beside('peer', ['glovebox tcp', 'srt tunnel'], 'bulk'),
        target: { at: 'least', value: 2 },
      }),
      ...ratio({
        ...beside('peer', ['glovebox proxy', 'srt proxy'], 'keep-alive'),
        target: { at: 'least', value: 5 },
      }),
      ...ratio({
        ...beside('peer', ['glovebox proxy', 'srt proxy'], 'keep-alive, 16 lanes'),
        target: { at: 'least', value: 5 },
      }),
      ...ratio(beside('peer', ['glovebox http', 'srt proxy'], 'keep-alive')),
      ...ratio(beside('peer', ['glovebox http', 'srt proxy'], 'keep-alive, 16 lanes')),
      ...ratio(beside('peer', ['glovebox tcp', 'srt tunnel'], 'keep-alive')),
      ...ratio(beside('peer', ['glovebox proxy', 'srt proxy'], 'new connections')),
      ...ratio(beside('peer', ['glovebox http', 'srt proxy'], 'new connections')),
    ],
    skips: why === undefined ? [] : [{ label: 'srt', why }],
  };
}

function armsOf(
  context: Context,
  origin: Origin,
  workspace: string,
): { readonly arms: readonly Arm[]; readonly why: string | undefined } {
  const { place } = context;
  const env = place.env();
  const node = nodeInside();
  const client = (host: string, way: string): readonly string[] => [
    node.file,
    CLIENT,
    `http://${host}`,
    way,
    String(COUNTS.bulkMiB),
    String(COUNTS.requests),
    String(COUNTS.connections),
  ];
  const options = ['--policy', policyFor(context, origin), ...node.options];
  const inside = (name: string, host: string, way: string): Arm =>
    clientArm(
      name,
      `glovebox run --policy P -- node client.mjs http://${hostShape(host)} ${way}`,
      gloveboxRun({ workspace, env, options, command: client(host, way) }),
    );
  const arms = [
    clientArm('direct', 'node client.mjs http://127.0.0.1:PORT direct', {
      argv: client(`127.0.0.1:${origin.tcp}`, 'direct'),
      cwd: workspace,
      env,
    }),
    inside('glovebox tcp', `host-loopback:${origin.tcp}`, 'direct'),
    inside('glovebox http', `host-loopback:${origin.http}`, 'direct'),
    inside('glovebox proxy', `host-loopback:${origin.http}`, 'proxy'),
  ];
  const found = context.peer();
  if (found.peer === undefined) return { arms, why: found.why };
  const target = `127.0.0.1:${origin.tcp}`;
  const settings = peerSettings(place, workspace, [target]);
  for (const way of ['proxy', 'tunnel']) {
    const argv = found.peer.argv(settings, client(target, way));
    arms.push(
      clientArm(`srt ${way}`, `srt node client.mjs http://127.0.0.1:PORT ${way}`, {
        argv,
        cwd: workspace,
        env,
      }),
    );
  }
  return { arms, why: undefined };
}

const hostShape = (host: string): string => host.replace(/\d+$/, 'PORT');

function clientArm(name: string, command: string, run: Invocation): Arm {
  return { name, command, sample: () => Promise.resolve(numbersOf(run)) };
}

function policyFor({ place }: Context, origin: Origin): string {
  const rule = (port: number, protocol: string): object => ({
    host: 'host-loopback',
    ports: [port],
    protocol,
  });
  const allow = [rule(origin.tcp, 'tcp'), rule(origin.http, 'http')];
  return place.write(
    'gateway.json',
    JSON.stringify({ version: 1, extends: ['profile:default'], network: { allow } }),
  );
}

/** The sandbox shows /usr; a Node.js that lies elsewhere has to be made visible. */
function nodeInside(): { readonly file: string; readonly options: readonly string[] } {
  const file = realpathSync(process.execPath);
  if (file.startsWith('/usr/')) return { file, options: [] };
  return { file, options: ['--read', path.dirname(path.dirname(file))] };
}
