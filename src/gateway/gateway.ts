import { setMaxListeners } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { Budgets } from './budgets.ts';
import type { Gateway, GatewayOptions, ListenerSpec, RequestRecord, Verdict } from './contract.ts';
import { placeOf, recordAllow, recordDeny } from './core.ts';
import type { GatewayCore, H2Front, HttpFront } from './core.ts';
import type { OpenSession } from './http/contract.ts';
import { Judge } from './decide.ts';
import { netDialler, ownAddresses } from './dial.ts';
import { serveDnsTcp, serveDnsUdp } from './dns.ts';
import { EventLog } from './event-log.ts';
import { AllowedOnce } from './http/allowed.ts';
import { HeldBytes } from './http/held-body.ts';
import { UpstreamPool } from './http/pool.ts';
import { serveHttpProxy } from './http-proxy.ts';
import { Ledger } from './ledger.ts';
import { GATEWAY_LIMITS } from './limits.ts';
import type { GatewayLimits } from './limits.ts';
import { NameGate } from './name-gate.ts';
import { problemBytes, problemOf } from './problem.ts';
import { systemResolver } from './resolve.ts';
import { serveSocks } from './socks.ts';
import { SyntheticNames } from './synthetic.ts';
import { refuseSentinel, serveTransparent } from './transparent.ts';
import type { TlsHalf } from './tls/contract.ts';
import { Upstream } from './upstream.ts';
import { reset, sayAndClose } from './wire.ts';

/** Reads of 64 KiB, libuv's slab, so that bulk transfers are not cut into smaller pieces. */
const READ_BYTES = 64 * 1024;

/** Creates the gateway of one sandbox; it does nothing until listeners are attached. Throws when the policy names a host wrongly. */
export function createGateway(options: GatewayOptions): Gateway {
  return new SandboxGateway(options);
}

class SandboxGateway implements Gateway {
  readonly #core: GatewayCore;
  readonly #closing = new AbortController();
  readonly #closers: (() => Promise<void>)[] = [];
  #http: Promise<HttpFront> | undefined;
  #h2: Promise<H2Front> | undefined;
  #tls: Promise<TlsHalf> | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: GatewayOptions) {
    const limits = { ...GATEWAY_LIMITS, ...options.limits };
    // One listener for each lookup and dial under way: as many as there are connections, and no leak.
    setMaxListeners(0, this.#closing.signal);
    const { hostAddresses } = options;
    const own =
      hostAddresses === undefined ? ownAddresses() : (): ReadonlySet<string> => new Set(hostAddresses());
    const judge = new Judge(options.policy, own);
    const budgets = new Budgets(options.policy);
    const ledger = new Ledger((summary) => this.#tell(() => options.onConnection(summary)));
    const names = new SyntheticNames(options.syntheticPool ?? 'benchmark', limits.names);
    // Names of the policy come first: the same addresses in every run, and a flood under a wildcard cannot use them up.
    for (const name of judge.exactNames()) names.addressOf(name);
    const events = new EventLog((event) => this.#tell(() => options.onEvent(event)), limits);
    const upstream = new Upstream({
      judge,
      resolver: options.resolver ?? systemResolver(),
      dialler: options.dialler ?? netDialler,
      limits,
      closing: this.#closing.signal,
      track: (socket) => ledger.addUpstream(socket),
    });
    const tls = (): Promise<TlsHalf> => this.#loadTls(options, limits);
    const openSession = async (): Promise<OpenSession> =>
      (await import('./http/h2-upstream.ts')).openH2(limits);
    const parts = { limits, judge, budgets, ledger, names, events, upstream, tls, openSession };
    const { onRequest, broker, scanner } = options;
    this.#core = {
      ...parts,
      nameGate: new NameGate(limits, budgets),
      pool: new UpstreamPool({
        ...parts,
        onUntrusted: (target, verdict) => recordDeny(this.#core, placeOf('transparent', target), verdict),
      }),
      allowed: new AllowedOnce((entry, target, address) => recordAllow(this.#core, entry, target, address)),
      held: new HeldBytes(limits.bufferedBytes),
      http: () => this.#loadHttp(),
      h2: () => this.#loadH2(),
      ...(onRequest === undefined
        ? {}
        : { onRequest: (record: RequestRecord) => this.#tell(() => onRequest(record)) }),
      ...(broker === undefined ? {} : { broker }),
      ...(scanner === undefined ? {} : { scanner }),
    };
  }

  attach(spec: ListenerSpec, handle: object): void {
    if (spec.transport === 'udp') {
      this.#closers.push(serveDnsUdp(this.#core, handle));
      return;
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: READ_BYTES });
    server.on('connection', (socket) => this.#accept(spec, socket));
    // A listener that fails later is a port less, not a crash of the host process; nothing else can reach it.
    server.on('error', () => undefined);
    server.listen(handle);
    this.#closers.push(() => closeServer(server));
  }

  stats(): ReturnType<Gateway['stats']> {
    return { ...this.#core.ledger.totals, denied: this.#core.events.denied };
  }

  close(): Promise<void> {
    this.#closed ??= this.#shutDown();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** A decision that cannot be recorded must not be acted on: when the sink fails, the gateway closes for good. */
  #tell(tell: () => void): void {
    try {
      tell();
    } catch {
      void this.close();
    }
  }

  #accept(spec: ListenerSpec, socket: Socket): void {
    socket.on('error', () => socket.destroy());
    if (this.#closing.signal.aborted) return void socket.destroy();
    if (this.#core.ledger.clients >= this.#core.limits.connections) return this.#refuseFull(spec, socket);
    this.#core.ledger.addClient(socket);
    // A defect in serving one connection must end that connection, closed, and no other.
    this.#serve(spec, socket).catch(() => socket.destroy());
  }

  async #serve(spec: ListenerSpec, socket: Socket): Promise<void> {
    switch (spec.role) {
      case 'dns':
        return serveDnsTcp(this.#core, socket);
      case 'http-proxy':
        return serveHttpProxy(this.#core, socket);
      case 'socks':
        return serveSocks(this.#core, socket);
      case 'transparent':
        return serveTransparent(this.#core, socket);
      case 'sentinel':
        return refuseSentinel(this.#core, socket);
    }
  }

  #refuseFull(spec: ListenerSpec, socket: Socket): void {
    const { limits } = this.#core;
    const verdict: Verdict = {
      action: 'deny',
      rule: 'structural.too-many-connections',
      reason: `over ${limits.connections} connections at once`,
    };
    recordDeny(this.#core, { entry: spec.role, host: '(none)', port: spec.port }, verdict);
    if (spec.role !== 'http-proxy') return reset(socket);
    sayAndClose(socket, problemBytes(problemOf(503, verdict)), limits);
  }

  #loadHttp(): Promise<HttpFront> {
    this.#http ??= import('./http/front.ts').then((module) => module.createHttpFront(this.#core));
    return this.#http;
  }

  #loadH2(): Promise<H2Front> {
    this.#h2 ??= Promise.all([import('./http/h2-front.ts'), import('./http/exchange.ts')]).then(
      ([front, { runExchange }]) => front.createH2Front(this.#core, { run: runExchange }),
    );
    return this.#h2;
  }

  #loadTls(options: GatewayOptions, limits: GatewayLimits): Promise<TlsHalf> {
    const { authority, roots, policy } = options;
    this.#tls ??= import('./tls/half.ts').then((module) =>
      module.createTlsHalf({ authority, roots, trust: policy.trust, limits }),
    );
    return this.#tls;
  }

  async #shutDown(): Promise<void> {
    this.#closing.abort();
    const listeners = this.#closers.map((close) => close());
    const http = await this.#http;
    http?.close();
    this.#core.pool.close();
    (await this.#h2)?.close();
    (await this.#tls)?.close();
    await this.#core.ledger.closeAll();
    await Promise.all(listeners);
    this.#core.events.close();
  }
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
