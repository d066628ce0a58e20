import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type {
  ConnectionSummary,
  Gateway,
  GatewayOptions,
  ListenerSpec,
  NetworkEvent,
} from '../../src/gateway/contract.ts';
import { createGateway } from '../../src/gateway/gateway.ts';
import type {
  NetworkBudget,
  NetworkDeny,
  NetworkPolicy,
  NetworkProtocol,
  NetworkRule,
} from '../../src/policy/contract.ts';

/** A rule with everything but host and port at its default. */
export function rule(host: string, port: number, more: Partial<NetworkRule> = {}): NetworkRule {
  const protocol: NetworkProtocol = port === 443 ? 'https' : port === 80 ? 'http' : 'tcp';
  const origin = { layer: 'user', position: { file: 'policy.yaml', line: 7, column: 3 } } as const;
  return {
    id: `allow:${host}`,
    host,
    ports: [port],
    protocol,
    private: false,
    allowNoSni: false,
    origin,
    ...more,
  };
}

export function denyRule(host: string, more: Partial<NetworkDeny> = {}): NetworkDeny {
  return { id: `deny:${host}`, host, origin: { layer: 'user' }, ...more };
}

export function policy(
  allow: readonly NetworkRule[],
  deny: readonly NetworkDeny[] = [],
  budget: NetworkBudget = {},
): NetworkPolicy {
  return { allow, deny, budget };
}

/** Where a connection seems to have been made to, in place of what the loopback socket says. */
export interface FakeDestination {
  address: string;
  port: number;
}

/** A gateway on loopback ports with a resolver and a dialler that are under the test's control. */
export interface Bench {
  readonly gateway: Gateway;
  readonly proxy: number;
  readonly socks: number;
  readonly dnsUdp: number;
  readonly dnsTcp: number;
  readonly transparent: number;
  readonly sentinel: number;
  /** The destination that connections to `transparent` and `sentinel` report. */
  readonly destination: FakeDestination;
  readonly events: NetworkEvent[];
  readonly summaries: ConnectionSummary[];
  readonly dialled: { readonly address: string; readonly port: number }[];
  readonly asked: string[];
}

export interface BenchOptions extends Partial<Omit<GatewayOptions, 'onEvent' | 'onConnection'>> {
  readonly policy: NetworkPolicy;
  /** Addresses of names; names that are not listed resolve to the attacker's. */
  readonly answers?: Readonly<Record<string, readonly string[]>>;
  /** Port of the local origin that every vetted address stands for. */
  readonly origin: number;
  /** Addresses that do not answer. */
  readonly dialFails?: readonly string[];
}

export const ATTACKER = '151.101.1.1';
export const HONEST = '93.184.216.34';

export async function startBench(options: BenchOptions): Promise<Bench> {
  const record = {
    events: [] as NetworkEvent[],
    summaries: [] as ConnectionSummary[],
    dialled: [] as Bench['dialled'],
    asked: [] as string[],
  };
  const destination: FakeDestination = { address: '198.18.0.1', port: 443 };
  const gateway = createGateway({
    hostAddresses: () => ['192.0.2.77', '203.0.114.5'],
    resolver: {
      resolve: (name) => {
        record.asked.push(name);
        return Promise.resolve(options.answers?.[name] ?? [ATTACKER]);
      },
    },
    dialler: {
      dial: async (address, port) => {
        record.dialled.push({ address, port });
        if (options.dialFails?.includes(address) === true)
          throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
        const socket = connect({
          port: options.origin,
          host: '127.0.0.1',
          allowHalfOpen: true,
          noDelay: true,
        });
        await once(socket, 'connect');
        return socket;
      },
    },
    ...options,
    onEvent: (event) => record.events.push(event),
    onConnection: (summary) => record.summaries.push(summary),
  });
  const tcp = (role: ListenerSpec['role'], fake?: FakeDestination): Promise<number> =>
    attachTcp(gateway, role, fake);
  return {
    gateway,
    proxy: await tcp('http-proxy'),
    socks: await tcp('socks'),
    dnsTcp: await tcp('dns'),
    transparent: await tcp('transparent', destination),
    sentinel: await tcp('sentinel', destination),
    dnsUdp: await attachUdp(gateway),
    destination,
    ...record,
  };
}

interface RawTcpHandle {
  onconnection: (error: number, client: RawClientHandle | undefined) => void;
}
interface RawClientHandle {
  getsockname: (out: { address?: string; port?: number; family?: string }) => number;
}

let nextId = 0;

/** Hands the gateway the raw handle of a listening socket, as Node's IPC does. */
export async function attachTcp(
  gateway: Gateway,
  role: ListenerSpec['role'],
  fake?: FakeDestination,
  host = '127.0.0.1',
): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, 'listening');
  const port = portOf(server);
  const handle = rawHandle(server);
  gateway.attach({ id: nextId++, transport: 'tcp', port, role }, handle);
  if (fake !== undefined) fakeDestination(handle, fake);
  return port;
}

/** The port of a listening server. */
export function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening on a port');
  return address.port;
}

function rawHandle(server: Server): RawTcpHandle {
  const handle: unknown = Reflect.get(server, '_handle');
  if (!isRawHandle(handle)) throw new Error('Node keeps the handle elsewhere now');
  return handle;
}

function isRawHandle(handle: unknown): handle is RawTcpHandle {
  return typeof handle === 'object' && handle !== null && 'onconnection' in handle;
}

/** The airlock's sockets report the original destination; on plain loopback that has to be put in their mouth. */
function fakeDestination(handle: RawTcpHandle, fake: FakeDestination): void {
  const deliver = handle.onconnection;
  handle.onconnection = function onconnection(this: unknown, error, client) {
    if (client !== undefined) {
      const { address, port } = fake;
      client.getsockname = (out) => {
        Object.assign(out, { address, port, family: address.includes(':') ? 'IPv6' : 'IPv4' });
        return 0;
      };
    }
    deliver.call(this, error, client);
  };
}

async function attachUdp(gateway: Gateway): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const port = socket.address().port;
  gateway.attach({ id: nextId++, transport: 'udp', port, role: 'dns' }, socket);
  return port;
}

/** An origin that answers with a function of what it has received, connection by connection. */
export interface Origin {
  readonly port: number;
  readonly server: Server;
  /** Bytes received, per connection. */
  readonly received: Buffer[];
  readonly sockets: Set<Socket>;
  close(): Promise<void>;
}

export async function startOrigin(
  onData: (socket: Socket, all: Buffer, chunk: Buffer) => void,
): Promise<Origin> {
  const received: Buffer[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const index = received.push(Buffer.alloc(0)) - 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('data', (chunk) => {
      const all = Buffer.concat([received[index] ?? Buffer.alloc(0), chunk]);
      received[index] = all;
      onData(socket, all, chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  return { port: portOf(server), server, received, sockets, close };
}

/** Sends pieces, waits until the other side is quiet or gone, and gives what came back. */
export async function talk(
  port: number,
  pieces: readonly (Uint8Array | string)[],
  quietMs = 60,
): Promise<{ bytes: Buffer; closed: boolean }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const chunks: Buffer[] = [];
  let last = Date.now();
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    last = Date.now();
  });
  socket.on('error', () => undefined);
  const isClosed = (): boolean => socket.readableEnded || socket.destroyed;
  await once(socket, 'connect');
  for (const piece of pieces) {
    socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece);
    await sleep(5);
  }
  last = Date.now();
  while (!isClosed() && Date.now() - last < quietMs) await sleep(5);
  const closed = isClosed();
  socket.destroy();
  return { bytes: Buffer.concat(chunks), closed };
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Waits for a condition; a condition that never comes true is a failure with its name. */
export async function until(what: string, condition: () => boolean, timeoutMs = 5_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(5);
  }
}
