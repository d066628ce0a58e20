import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import type {
  Http2SecureServer,
  Http2ServerRequest,
  Http2ServerResponse,
  SecureServerOptions,
} from 'node:http2';
import { connect, type AddressInfo, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { expect } from 'vitest';
import { Sandbox, type CommandOptions, type CommandResult, type SandboxOptions } from '../../src/index.ts';
import { until } from './attack.ts';
import type { TestBox } from './box.ts';
import { findProgram } from './users.ts';

/** A certificate authority of the outside, made by openssl, with one certificate for all the names of a test file. */
export class Outside implements Disposable {
  readonly dir: string;
  readonly key: string;
  readonly cert: string;

  constructor(names: readonly string[]) {
    this.dir = realpathSync(mkdtempSync('/var/tmp/gbx-outside-'));
    const openssl = (...args: string[]): void => {
      execFileSync('openssl', args, { cwd: this.dir, stdio: 'pipe' });
    };
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Outside CA');
    openssl('req', ...ec.slice(0, 5), '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', '/CN=leaf');
    const sans = names.map((name) => `DNS:${name}`).join(',');
    writeFileSync(path.join(this.dir, 'ext'), `subjectAltName=${sans}\nextendedKeyUsage=serverAuth\n`);
    const sign = ['-in', 'leaf.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2'];
    openssl('x509', '-req', ...sign, '-extfile', 'ext', '-out', 'leaf.pem');
    this.key = readFileSync(path.join(this.dir, 'leaf.key'), 'utf8');
    this.cert = readFileSync(path.join(this.dir, 'leaf.pem'), 'utf8');
  }

  /** For `network.trust`. */
  get ca(): string {
    return path.join(this.dir, 'ca.pem');
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

/** A server of the outside on a port of 127.0.0.1; closing it ends its connections. */
export class LocalServer implements AsyncDisposable {
  readonly server: Server | Http2SecureServer;
  readonly sockets = new Set<Socket>();

  constructor(server: Server | Http2SecureServer) {
    this.server = server;
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined).on('close', () => this.sockets.delete(socket));
    });
  }

  static async listen(server: Server | Http2SecureServer): Promise<LocalServer> {
    const local = new LocalServer(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return local;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await until(() => !this.server.listening && this.sockets.size === 0, 'the server to close');
  }
}

/** An origin that speaks HTTP/1.1 and HTTP/2 with the outside's certificate. */
export function tlsOrigin(
  outside: Outside,
  handler: Handler,
  more: SecureServerOptions = {},
): Promise<LocalServer> {
  const { key, cert } = outside;
  const server = http2.createSecureServer({ key, cert, allowHTTP1: true, ...more });
  server.on('request', (request: Http2ServerRequest, response: Http2ServerResponse) => {
    request.on('error', () => undefined);
    response.on('error', () => undefined);
    handler(request, response);
  });
  server.on('sessionError', () => undefined).on('tlsClientError', () => undefined);
  return LocalServer.listen(server);
}

/** Whole body of a request. */
export async function bodyOf(request: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

type Transport = NonNullable<SandboxOptions['transport']>;

/** Public addresses for names, and local ports behind them. Every guard of the gateway sees the public address. */
export function transportTo(
  sites: Readonly<Record<string, number>>,
): Transport & { readonly dialled: string[] } {
  const names = Object.keys(sites);
  const dialled: string[] = [];
  return {
    dialled,
    resolver: {
      resolve: (name) => {
        const at = names.indexOf(name);
        if (at === -1) return Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
        return Promise.resolve([`93.184.216.${34 + at}`]);
      },
    },
    dialler: {
      dial: async (address, port) => {
        dialled.push(`${address}:${port}`);
        const local = sites[names[Number(address.split('.')[3]) - 34] ?? ''] ?? 0;
        const socket = connect({ host: '127.0.0.1', port: local, allowHalfOpen: true, noDelay: true });
        await once(socket, 'connect');
        return socket;
      },
    },
  };
}

/** What a test sets up: rules and credentials as in a policy, and what stands behind the names. */
export interface Setup {
  readonly rules: readonly Readonly<Record<string, unknown>>[];
  readonly sites: Readonly<Record<string, number>>;
  readonly outside?: Outside;
  readonly credentials?: Readonly<Record<string, unknown>>;
  readonly network?: Readonly<Record<string, unknown>>;
  readonly hostEnv?: Readonly<Record<string, string>>;
  readonly more?: Omit<SandboxOptions, 'policy' | 'transport' | 'hostEnv' | 'workspace'>;
}

/** A sandbox whose way out leads to local servers. The host's Node and its tests' packages are visible. */
export async function inspected(box: TestBox, setup: Setup): Promise<Sandbox> {
  const { rules, outside, credentials, network } = setup;
  const policy = {
    version: 1,
    network: {
      allow: rules,
      ...(outside === undefined ? {} : { trust: [outside.ca] }),
      ...network,
    },
    ...(credentials === undefined ? {} : { credentials }),
  };
  // As the user's own policy: `network.trust` stands in no weaker layer. JSON is YAML.
  box.policy(JSON.stringify(policy));
  const read = [...nodeTree(), ...(setup.more?.read ?? [])];
  return Sandbox.create({
    workspace: box.workspace,
    hostEnv: box.env(setup.hostEnv),
    ...setup.more,
    read,
    transport: transportTo(setup.sites),
  });
}

/** Node may stand outside the base system. */
function nodeTree(): readonly string[] {
  return process.execPath.startsWith('/usr/') ? [] : [path.dirname(path.dirname(process.execPath))];
}

const PROXY_VARIABLES = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'all_proxy'];
const WITHOUT_PROXY = ['env', ...PROXY_VARIABLES.flatMap((name) => ['-u', name])];

/** The two ways in: by the proxy that the environment names, and by name alone. */
export const WAYS = [
  { way: 'by the proxy', entry: 'http-proxy', wrap: (argv: readonly string[]) => argv },
  {
    way: 'transparent',
    entry: 'transparent',
    wrap: (argv: readonly string[]) => [...WITHOUT_PROXY, ...argv],
  },
] as const;

export type Way = (typeof WAYS)[number];

/** Runs a program inside; a hang is a failure of its own. */
export function inside(
  sandbox: Sandbox,
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  return sandbox.commands.exec(argv, { timeoutMs: 40_000, ...options });
}

/** Data of the records of one kind so far. */
export function recorded(box: TestBox, kind: string): readonly Readonly<Record<string, unknown>>[] {
  return box
    .records()
    .filter((record) => record.kind === kind)
    .map((record) => record.data);
}

/** Waits until a record of this kind has these fields: it is written beside the answer, not before it. */
export async function expectRecord(
  box: TestBox,
  kind: string,
  data: Readonly<Record<string, unknown>>,
): Promise<void> {
  const wanted: unknown = expect.objectContaining(data);
  const has = (): boolean => recorded(box, kind).some((found) => matches(found, wanted));
  await until(has, 'a record', 5000).catch(() => undefined);
  expect(recorded(box, kind)).toContainEqual(wanted);
}

function matches(found: unknown, wanted: unknown): boolean {
  try {
    expect(found).toEqual(wanted);
    return true;
  } catch {
    return false;
  }
}

/** For `describe.skipIf` and its title: what is missing on this machine. */
export function missing(...programs: readonly string[]): string {
  const absent = programs.filter((name) =>
    path.isAbsolute(name) ? !existsSync(name) : findProgram(name) === undefined,
  );
  return absent.length === 0 ? '' : ` (skipped: ${absent.join(', ')} not installed)`;
}

/** Bytes that no compression shrinks to nothing and that are told apart by their position. */
export function pattern(bytes: number): Buffer {
  const block = Buffer.alloc(65_536, 'glovebox-inspection-');
  return Buffer.alloc(bytes, block);
}

/**
 * The origin of most tests: `/v1/hello`, `/v1/sum` (digest of what was sent), `/v1/bytes?n=` (that many), `/v1/headers` (what the
 * origin saw), `/files/**` (which the rules of the tests leave out). `seen` has every request that arrived.
 */
export class SampleOrigin {
  readonly seen: { readonly http: string; readonly method: string; readonly url: string }[] = [];

  readonly handler: Handler = (request, response) => {
    this.seen.push({ http: request.httpVersion, method: request.method, url: request.url });
    void this.#answer(request, response).catch(() => response.stream?.destroy());
  };

  async #answer(request: Http2ServerRequest, response: Http2ServerResponse): Promise<void> {
    const url = new URL(request.url, 'https://origin.invalid');
    response.setHeader('content-type', 'text/plain');
    if (url.pathname === '/v1/sum') {
      const hash = createHash('sha256');
      let bytes = 0;
      for await (const chunk of request as AsyncIterable<Buffer>) {
        hash.update(chunk);
        bytes += chunk.length;
      }
      response.end(`${bytes} ${hash.digest('hex')}`);
    } else if (url.pathname === '/v1/bytes') {
      const body = pattern(Number(url.searchParams.get('n')));
      response.setHeader('content-length', String(body.length));
      response.end(body);
    } else if (url.pathname === '/v1/headers') {
      response.end(JSON.stringify(request.headers));
    } else {
      response.end(`hello over ${request.httpVersion}`);
    }
  }
}

export const sumOf = (body: Uint8Array): string =>
  `${body.length} ${createHash('sha256').update(body).digest('hex')}`;

/**
 * Node uses no proxy by itself: `tunnel(host)` is a TCP connection by CONNECT where this way has a proxy, `agent()` one of
 * `node:https` over such.
 */
const TUNNEL = `
import http from 'node:http'; import tlsOf from 'node:tls'; import httpsOf from 'node:https'; import { once as onceOf } from 'node:events';
const proxy = process.env.https_proxy === undefined ? undefined : new URL(process.env.https_proxy);
async function tunnel(host) {
  if (proxy === undefined) return undefined;
  const path = host + ':443';
  const request = http.request({ hostname: proxy.hostname, port: proxy.port, method: 'CONNECT', path, headers: { host: path } }).end();
  const [response, socket] = await onceOf(request, 'connect');
  if (response.statusCode !== 200) throw new Error('CONNECT: ' + response.statusCode);
  return socket;
}
class Tunnelled extends httpsOf.Agent {
  createConnection({ host, servername }, ready) {
    tunnel(host).then((socket) => ready(null, tlsOf.connect({ socket, servername: servername || host })), ready);
  }
}
const agent = (more) => proxy === undefined ? new httpsOf.Agent(more) : new Tunnelled(more);
`;

/** A Node program for both ways, with `tunnel` and `agent`. */
export const nodeProgram = (way: Way, script: string): readonly string[] =>
  way.wrap([process.execPath, '--input-type=module', '-e', TUNNEL + script]);
