import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Gateway } from '../src/gateway/contract.ts';
import { netDialler } from '../src/gateway/dial.ts';
import { createGateway } from '../src/gateway/gateway.ts';
import type { NetworkRule } from '../src/policy/contract.ts';

/** One measurement: through the gateway, directly, and their ratio. Rates are medians of interleaved rounds. */
export interface GatewayBenchRow {
  readonly what: string;
  readonly unit: 'MB/s' | 'requests/s' | 'connections/s';
  readonly direct: number;
  readonly gateway: number;
  readonly ratio: number;
}

/** The origin: `GET /` answers two bytes, `GET /bulk` answers megabytes; in a process of its own, as in real use. */
const ORIGIN = `
const http = require('node:http');
const chunk = Buffer.alloc(65536, 97);
const server = http.createServer((req, res) => {
  if (req.url !== '/bulk') return res.end('ok');
  let left = Number(process.argv[1]) * 16;
  res.writeHead(200, { 'Content-Length': left * 65536 });
  const go = () => { while (left-- > 0) if (!res.write(chunk)) return res.once('drain', go); res.end(); };
  go();
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => process.send(server.address().port));
`;

/** The client: lanes of keep-alive requests on raw sockets, so that it costs little itself. */
const CLIENT = `
const net = require('node:net');
const open = (job) => new Promise((resolve, reject) => {
  const s = net.connect({ port: job.port, host: '127.0.0.1', noDelay: true, highWaterMark: 65536 });
  s.once('error', reject);
  if (!job.connect) return s.once('connect', () => resolve(s));
  s.write('CONNECT ' + job.connect + ' HTTP/1.1\\r\\nHost: ' + job.connect + '\\r\\n\\r\\n');
  s.once('data', () => resolve(s));
});
const lane = async (job, n) => {
  const s = await open(job);
  const ask = 'GET ' + job.prefix + '/ HTTP/1.1\\r\\nHost: ' + job.host + '\\r\\n\\r\\n';
  for (let i = 0; i < n; i++) { s.write(ask); await new Promise((r) => s.once('data', r)); }
  s.destroy();
};
const bulk = async (job) => {
  const s = await open(job);
  let got = 0;
  s.write('GET ' + job.prefix + '/bulk HTTP/1.1\\r\\nHost: ' + job.host + '\\r\\nConnection: close\\r\\n\\r\\n');
  await new Promise((r) => { s.on('data', (c) => { got += c.length; if (got >= job.count * 1048576) r(); }); s.on('close', r); });
  s.destroy();
};
process.on('message', async (job) => {
  const t = process.hrtime.bigint();
  if (job.kind === 'bulk') await bulk(job);
  else if (job.kind === 'requests') await Promise.all(Array.from({ length: job.lanes }, () => lane(job, job.count / job.lanes)));
  else for (let i = 0; i < job.count; i++) await lane(job, 1);
  process.send(job.count / (Number(process.hrtime.bigint() - t) / 1e9));
});
process.send('ready');
`;

interface Job {
  readonly kind: 'bulk' | 'requests' | 'connections';
  readonly count: number;
  /** Requests at once. */
  readonly lanes: number;
  readonly port: number;
  /** CONNECT to this authority first. */
  readonly connect?: string;
  /** Scheme and authority of an absolute-form target. */
  readonly prefix: string;
  readonly host: string;
}

const BULK_MB = 512;

/** Measures the gateway against a direct connection, interleaved in one run. Takes about 20 s. */
export async function benchGateway(rounds = 5): Promise<readonly GatewayBenchRow[]> {
  const origin = start(ORIGIN, String(BULK_MB));
  const client = start(CLIENT);
  const [originPort] = await Promise.all([nextNumber(origin), once(client, 'message')]);
  const gateway = makeGateway(originPort);
  const proxy = await listen(gateway);
  try {
    const direct = { port: originPort, prefix: '', host: `127.0.0.1:${originPort}` };
    const tunnel = { port: proxy, connect: 'origin.test:5432', prefix: '', host: 'origin.test' };
    const http = { port: proxy, prefix: 'http://plain.test', host: 'plain.test' };
    const measure = (
      what: string,
      kind: Job['kind'],
      count: number,
      via: Omit<Job, 'kind' | 'count' | 'lanes'>,
    ): Promise<GatewayBenchRow> => {
      const lanes = what.includes('16 lanes') ? 16 : 1;
      return compare(client, rounds, what, [
        { ...direct, kind, count, lanes },
        { ...via, kind, count, lanes },
      ]);
    };
    return [
      await measure('bulk, one stream, tunnel', 'bulk', BULK_MB, tunnel),
      await measure('bulk, one stream, http', 'bulk', BULK_MB, http),
      await measure('keep-alive requests, 16 lanes, tunnel', 'requests', 16_000, tunnel),
      await measure('keep-alive requests, 16 lanes, http', 'requests', 16_000, http),
      await measure('keep-alive requests, one lane, http', 'requests', 3_000, http),
      await measure('new connection and one request, tunnel', 'connections', 1_000, tunnel),
    ];
  } finally {
    await gateway.close();
    origin.kill();
    client.kill();
  }
}

async function compare(
  client: ChildProcess,
  rounds: number,
  what: string,
  jobs: readonly [Job, Job],
): Promise<GatewayBenchRow> {
  const rates: [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    for (const index of [0, 1] as const) {
      client.send(jobs[index]);
      const rate = await nextNumber(client);
      if (round >= 0) rates[index].push(rate);
    }
  }
  const [direct, gateway] = [median(rates[0]), median(rates[1])];
  const unit =
    jobs[0].kind === 'bulk' ? 'MB/s' : jobs[0].kind === 'requests' ? 'requests/s' : 'connections/s';
  return { what, unit, direct, gateway, ratio: gateway / direct };
}

function makeGateway(originPort: number): Gateway {
  const rule = (host: string, port: number, protocol: 'http' | 'tcp'): NetworkRule => ({
    id: host,
    host,
    ports: [port],
    protocol,
    private: false,
    allowNoSni: false,
    origin: { layer: 'user' },
  });
  return createGateway({
    policy: {
      allow: [rule('origin.test', 5432, 'tcp'), rule('plain.test', 80, 'http')],
      deny: [],
      budget: {},
    },
    onEvent: () => undefined,
    onConnection: () => undefined,
    resolver: { resolve: () => Promise.resolve(['93.184.216.34']) },
    // The real dialler, led to the local origin: how its sockets read is part of what is measured.
    dialler: { dial: (_address, _port, signal) => netDialler.dial('127.0.0.1', originPort, signal) },
  });
}

async function listen(gateway: Gateway): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address === null || typeof address === 'string' ? 0 : address.port;
  gateway.attach({ id: 0, transport: 'tcp', port, role: 'http-proxy' }, server);
  return port;
}

async function nextNumber(child: ChildProcess): Promise<number> {
  const [value]: unknown[] = await once(child, 'message');
  return Number(value);
}

function start(source: string, ...args: string[]): ChildProcess {
  return spawn(process.execPath, ['-e', source, ...args], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
