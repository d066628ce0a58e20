import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** A policy that allows one port of the host's 127.0.0.1: a real way out that needs no network. */
export function hostLoopbackPolicy(port: number, protocol: 'tcp' | 'http' | 'https'): string {
  return `version: 1\nnetwork:\n  allow:\n    - { host: host-loopback, ports: [${port}], protocol: ${protocol} }\n`;
}

/** A service of the host that counts who came. */
export class CanaryService implements AsyncDisposable {
  readonly #server: net.Server;
  readonly #sockets: net.Socket[] = [];
  connections = 0;
  received = '';

  private constructor() {
    this.#server = net.createServer((socket) => {
      this.connections++;
      this.#sockets.push(socket);
      socket.on('error', () => undefined);
      socket.on('data', (chunk: Buffer) => (this.received += chunk.toString('latin1')));
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbreach');
    });
  }

  /** On a TCP address (port 0 picks one), a path, or an abstract name that begins with NUL. */
  static async on(
    where: { readonly host: string; readonly port: number } | { readonly path: string },
  ): Promise<CanaryService> {
    const service = new CanaryService();
    await new Promise<void>((resolve, reject) => {
      service.#server.once('error', reject);
      service.#server.listen(where, resolve);
    });
    return service;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('not a TCP service');
    return address.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Numbers of the host's processes whose command line holds `marker`. */
export function processesWith(marker: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((name) => commandLine(name).includes(marker))
    .map(Number);
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

/** Waits until `condition` holds; fails after `timeoutMs`. For what has no event: files of others, the process table. */
export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(10);
  }
}
