import { mkdtempSync, rmSync } from 'node:fs';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerResponse,
} from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { violations } from './api.fixture.ts';
import { SOCKETS } from './layout.ts';

/** What a request is answered with; nothing: 204. */
export type Respond = (
  method: string,
  path: string,
) => { readonly status: number; readonly text: string } | undefined;

/** Somebody in the guest is asked for. */
export type Accept = (port: number, connection: Socket) => void;

/**
 * The outside of Firecracker as its documents describe it, on real sockets: an HTTP API that takes only what its schema allows, and before
 * `InstanceStart` only; a vsock socket that appears then. There is no machine behind it: whoever accepts a connection is the test.
 */
export class FirecrackerOutside {
  readonly sockets = mkdtempSync(path.join(tmpdir(), 'glovebox-fc-'));
  /** Calls in the order in which they arrived. */
  readonly calls: string[] = [];
  readonly #accept: Accept | undefined;
  readonly #respond: Respond;
  readonly #api: HttpServer;
  readonly #open = new Set<Socket>();
  #vsock: Server | undefined;
  #started = false;

  /** `accept` is the guest: given the port and the connection, or absent where nobody listens. */
  constructor(accept?: Accept, respond: Respond = () => undefined) {
    this.#accept = accept;
    this.#respond = respond;
    this.#api = createHttpServer((asked, answer) => {
      void this.#answer(asked, answer);
    });
    this.#track(this.#api);
  }

  get api(): string {
    return path.join(this.sockets, SOCKETS.api);
  }

  get guest(): string {
    return path.join(this.sockets, SOCKETS.guest);
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#api.listen(this.api, resolve));
    return this;
  }

  /** As after `InstanceStart`. */
  async start(): Promise<void> {
    this.#started = true;
    const server = createServer((connection) => this.#handshake(connection));
    this.#track(server);
    this.#vsock = server;
    await new Promise<void>((resolve) => server.listen(this.guest, resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#open) connection.destroy();
    for (const server of [this.#api, this.#vsock])
      if (server?.listening === true) await new Promise((resolve) => server.close(resolve));
    rmSync(this.sockets, { recursive: true, force: true });
  }

  #track(server: Server): void {
    server.on('connection', (connection: Socket) => {
      this.#open.add(connection);
      connection.on('error', () => undefined).once('close', () => this.#open.delete(connection));
    });
  }

  async #answer(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { status, text } = await this.#judge(asked);
    answer.writeHead(status, text === '' ? {} : { 'content-type': 'application/json' }).end(text);
  }

  async #judge(asked: IncomingMessage): Promise<{ readonly status: number; readonly text: string }> {
    const { method = '', url = '' } = asked;
    let body = '';
    for await (const chunk of asked.setEncoding('utf8')) body += String(chunk);
    this.calls.push(`${method} ${url}`);
    const made = this.#respond(method, url);
    if (made !== undefined) return made;
    const problems = violations(method, url, JSON.parse(body));
    if (problems.length > 0) return fault(problems.join('; '));
    if (this.#started && method === 'PUT' && !url.startsWith('/snapshot'))
      return fault('The requested operation is not supported after starting the microVM.');
    if (body.includes('InstanceStart') || url === '/snapshot/load') await this.start();
    return { status: 204, text: '' };
  }

  /** Firecracker, docs/vsock.md: `CONNECT PORT`, then `OK` and the host's port, or the end where nobody listens. */
  #handshake(connection: Socket): void {
    connection.once('data', (chunk: Buffer) => {
      const port = /^CONNECT (\d+)\n$/.exec(chunk.toString('latin1'))?.[1];
      if (port === undefined || this.#accept === undefined) return void connection.destroy();
      this.#accept(Number(port), connection);
    });
  }
}

export const fault = (message: string): { readonly status: number; readonly text: string } => ({
  status: 400,
  text: JSON.stringify({ fault_message: message }),
});

/** A guest that accepts on one port and says something at once, in the same segment. */
export const acceptOn =
  (port: number, greeting: string) =>
  (asked: number, connection: Socket): void => {
    if (asked === port) connection.write(`OK 1073741824\n${greeting}`);
    else connection.destroy();
  };
