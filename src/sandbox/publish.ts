import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { GloveboxError, systemCode } from '../base/errors.ts';
import type { Teardown } from '../base/teardown.ts';

/** A port of the sandbox that is reachable on the host's 127.0.0.1. */
export interface PublishedPort {
  readonly hostPort: number;
  readonly sandboxPort: number;
}

/** Reads `8080` or `9000:8080` (host port first; 0 picks a free one). */
export function parsePublish(text: string): PublishedPort {
  const match = /^(?:(\d{1,5}):)?(\d{1,5})$/.exec(text);
  const sandboxPort = Number(match?.[2]);
  const hostPort = match?.[1] === undefined ? sandboxPort : Number(match[1]);
  if (match === null || sandboxPort < 1 || sandboxPort > 65_535 || hostPort > 65_535) {
    throw new GloveboxError('E_USAGE', {
      what: `--publish ${text} is not a port`,
      next: 'Use --publish 8080, or --publish 9000:8080 for another port on the host. It is always on 127.0.0.1.',
    });
  }
  return { hostPort, sandboxPort };
}

/** What publishing needs of a sandbox. */
export interface PublishTarget {
  dial(port: number): Promise<Duplex>;
  readonly teardown: Teardown;
}

/**
 * Listens on the host's 127.0.0.1 and connects each caller to the sandbox's loopback, through the agent. Nothing of the
 * host is reachable the other way.
 *
 * @throws E_USAGE, E_PORT_TAKEN
 */
export async function publishPorts(
  specs: readonly string[],
  target: PublishTarget,
): Promise<readonly PublishedPort[]> {
  const ports = specs.map(parsePublish);
  return Promise.all(ports.map((port) => publishPort(port, target)));
}

async function publishPort(port: PublishedPort, target: PublishTarget): Promise<PublishedPort> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    void connectInside(socket, port.sandboxPort, target);
  });
  await listenOnLoopback(server, port.hostPort);
  target.teardown.add('published port', () => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  const address = server.address();
  const hostPort = typeof address === 'object' && address !== null ? address.port : port.hostPort;
  return { hostPort, sandboxPort: port.sandboxPort };
}

async function connectInside(socket: Socket, port: number, target: PublishTarget): Promise<void> {
  socket.on('error', () => socket.destroy());
  try {
    const inside = await target.dial(port);
    inside.on('error', () => socket.destroy());
    socket.on('close', () => inside.destroy());
    inside.on('close', () => socket.destroy());
    socket.pipe(inside);
    inside.pipe(socket);
  } catch {
    socket.destroy();
  }
}

function listenOnLoopback(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => {
      reject(
        new GloveboxError('E_PORT_TAKEN', {
          what: `cannot listen on 127.0.0.1:${port}`,
          why: systemCode(error) ?? error.message,
        }),
      );
    });
    server.listen(port, '127.0.0.1', resolve);
  });
}
