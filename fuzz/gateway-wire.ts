import { connect } from 'node:net';
import { once } from 'node:events';
import type { FuzzTarget } from './net-parsers.ts';

/** Ports of a running gateway whose policy allows nothing. */
export interface WirePorts {
  readonly proxy: number;
  readonly socks: number;
  readonly transparent: number;
}

/** Sends the mutated seeds of the parsers to a real gateway. It must stay up, and nothing may be dialled: the caller checks both. */
export async function fuzzWire(
  ports: WirePorts,
  targets: readonly FuzzTarget[],
  iterations: number,
): Promise<void> {
  for (let i = 0; i < iterations; i++) {
    const target = targets[i % targets.length];
    const seed = target?.seeds[i % (target.seeds.length || 1)] ?? new Uint8Array();
    const bytes = Buffer.from(seed);
    if (bytes.length > 0) bytes[(i * 7) % bytes.length] = (i * 31) & 0xff;
    await Promise.all([ports.proxy, ports.socks, ports.transparent].map((port) => send(port, bytes)));
  }
}

async function send(port: number, bytes: Uint8Array): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => socket.destroy()).resume();
  socket.end(bytes);
  setTimeout(() => socket.destroy(), 30);
  if (!socket.closed) await once(socket, 'close').catch(() => undefined);
}
