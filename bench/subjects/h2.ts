import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Gateway } from '../../src/gateway/contract.ts';
import { createGateway } from '../../src/gateway/gateway.ts';
import { createAuthority } from '../../src/gateway/tls/authority.ts';
import {
  caCertificate,
  certifiedKey,
  distinguishedName,
  leafCertificate,
} from '../../src/gateway/tls/certificate.ts';
import { certificatePem } from '../../src/gateway/tls/pem.ts';
import type { NetworkRule } from '../../src/policy/contract.ts';
import type { Subject } from '../lib/context.ts';
import type { Comparison, Series } from '../lib/result.ts';

const ROUNDS = 5;
const HOST = 'origin.test';
const BULK_MB = 128;

/** The origin: `/` answers two bytes, `/bulk` megabytes; in a process of its own, as in real use. */
const ORIGIN = `
const http2 = require('node:http2');
const [key, cert, megabytes] = process.argv.slice(1);
const chunk = Buffer.alloc(65536, 97);
const settings = { initialWindowSize: 1 << 20 };
const server = http2.createSecureServer({ key, cert, settings });
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  if (headers[':path'] !== '/bulk') { stream.resume(); stream.respond({ ':status': 200 }); return stream.end('ok'); }
  let left = Number(megabytes) * 16;
  stream.respond({ ':status': 200 });
  const go = () => { while (left-- > 0) if (!stream.write(chunk)) return stream.once('drain', go); stream.end(); };
  go();
});
server.listen(0, '127.0.0.1', () => process.send(server.address().port));
`;

/** The client: one connection, `lanes` requests at once on it. */
const CLIENT = `
const http2 = require('node:http2'), net = require('node:net'), tls = require('node:tls');
const open = async (job) => {
  const raw = net.connect({ port: job.port, host: '127.0.0.1', noDelay: true });
  await new Promise((r) => raw.once('connect', r));
  if (job.proxy) {
    raw.write('CONNECT ' + job.host + ':443 HTTP/1.1\\r\\nHost: ' + job.host + ':443\\r\\n\\r\\n');
    await new Promise((r) => raw.once('data', r));
  }
  const socket = tls.connect({ socket: raw, servername: job.host, ca: job.ca, ALPNProtocols: ['h2'] });
  await new Promise((r, j) => socket.once('secureConnect', r).once('error', j));
  const session = http2.connect('https://' + job.host, { createConnection: () => socket, settings: { initialWindowSize: 1 << 20 } });
  session.once('connect', () => session.setLocalWindowSize(1 << 22));
  return session;
};
const ask = (session, path) => new Promise((resolve, reject) => {
  const stream = session.request({ ':path': path });
  stream.on('data', () => {}).once('error', reject).once('close', resolve);
});
const lane = async (session, n) => { for (let i = 0; i < n; i++) await ask(session, '/'); };
process.on('message', async (job) => {
  const session = await open(job);
  await ask(session, '/');
  const t = process.hrtime.bigint();
  if (job.kind === 'bulk') await ask(session, '/bulk');
  else await Promise.all(Array.from({ length: job.lanes }, () => lane(session, job.count / job.lanes)));
  process.send(job.count / (Number(process.hrtime.bigint() - t) / 1e9));
  session.destroy();
});
process.send('ready');
`;

interface Job {
  readonly kind: 'bulk' | 'requests';
  readonly count: number;
  readonly lanes: number;
}

interface Way {
  readonly port: number;
  readonly proxy: boolean;
  readonly host: string;
  readonly ca: string;
}

const ROWS: readonly { readonly what: string; readonly job: Job }[] = [
  { what: 'h2 requests, one after another', job: { kind: 'requests', count: 1_000, lanes: 1 } },
  { what: 'h2 requests, 32 at once', job: { kind: 'requests', count: 8_000, lanes: 32 } },
  { what: 'h2 bulk, one stream', job: { kind: 'bulk', count: BULK_MB, lanes: 1 } },
];

/** HTTP/2 read and judged by the gateway (TLS on both sides), beside HTTP/2 straight to the origin. */
export const h2: Subject = {
  name: 'h2',
  summary: 'HTTP/2 through the inspecting gateway: requests one by one, 32 at once, bulk',
  run: async ({ rounds }) => {
    const world = newWorld();
    const origin = start(ORIGIN, world.key, world.cert, String(BULK_MB));
    const client = start(CLIENT);
    const [originPort] = await Promise.all([nextNumber(origin), once(client, 'message')]);
    const sandbox = createAuthority({ sandbox: 'bench' });
    const gateway = makeGateway(originPort, world.ca, sandbox);
    try {
      const ways: readonly [Way, Way] = [
        { port: originPort, proxy: false, host: HOST, ca: world.ca },
        { port: await listen(gateway), proxy: true, host: HOST, ca: sandbox.pem },
      ];
      const series: Series[] = [];
      const comparisons: Comparison[] = [];
      for (const { what, job } of ROWS) {
        const [direct, through] = await compare(client, rounds(ROUNDS), job, ways);
        const unit = job.kind === 'bulk' ? ('MiB/s' as const) : ('1/s' as const);
        series.push({ label: `${what}: direct`, unit, command: 'h2', samples: direct });
        series.push({ label: `${what}: gateway`, unit, command: 'h2', samples: through });
        comparisons.push({
          label: `${what}: gateway / direct`,
          unit: 'x',
          median: median(through) / median(direct),
          best: Math.max(...through) / Math.max(...direct),
        });
      }
      return { series, comparisons, skips: [] };
    } finally {
      await gateway.close();
      origin.kill();
      client.kill();
    }
  },
};

/** Interleaved, the first round for warming up. */
async function compare(
  client: ChildProcess,
  rounds: number,
  job: Job,
  ways: readonly [Way, Way],
): Promise<readonly [number[], number[]]> {
  const rates: readonly [number[], number[]] = [[], []];
  for (let round = -1; round < rounds; round++) {
    for (const index of [0, 1] as const) {
      client.send({ ...job, ...ways[index] });
      const rate = await nextNumber(client);
      if (round >= 0) rates[index].push(rate);
    }
  }
  return rates;
}

function makeGateway(originPort: number, ca: string, authority: ReturnType<typeof createAuthority>): Gateway {
  return createGateway({
    policy: { allow: [readRule()], deny: [], budget: {} },
    authority,
    roots: {
      hostBundle: () => Promise.resolve(ca),
      contextFor: () => Promise.resolve(createSecureContext({ ca })),
    },
    onEvent: () => undefined,
    onConnection: () => undefined,
    resolver: { resolve: () => Promise.resolve(['93.184.216.34']) },
    dialler: {
      dial: async () => {
        const socket = connect({ port: originPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
        await once(socket, 'connect');
        return socket;
      },
    },
  });
}

function readRule(): NetworkRule {
  return {
    id: HOST,
    host: HOST,
    ports: [443],
    protocol: 'https',
    private: false,
    allowNoSni: false,
    requests: {
      allow: [{ methods: ['GET'], path: '/**' }],
      refuse: [],
      enforcement: 'enforce',
      http2: true,
      encodedSlash: 'deny',
      websocket: 'deny',
      setHeaders: {},
      removeHeaders: [],
      stripResponseHeaders: [],
      credentials: [],
      dlp: false,
      limits: {},
    },
    origin: { layer: 'user' },
  };
}

/** A certificate for the origin, signed by a root of its own. */
function newWorld(): { readonly ca: string; readonly key: string; readonly cert: string } {
  const root = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rootKey = certifiedKey(root.publicKey);
  const issuer = { name: distinguishedName('bench'), keyId: rootKey.keyId, privateKey: root.privateKey };
  const now = Date.now();
  const validity = { notBefore: now - 3_600_000, notAfter: now + 3_600_000 };
  const cert = leafCertificate(issuer, certifiedKey(leaf.publicKey), HOST, validity);
  return {
    ca: certificatePem(caCertificate(issuer, rootKey, validity)),
    key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: certificatePem(cert),
  };
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
  return spawn(process.execPath, ['-e', source, '--', ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
