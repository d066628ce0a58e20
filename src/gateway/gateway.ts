import { setMaxListeners } from 'node:events';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { NetworkPolicy } from '../policy/contract.ts';
import { AskDesk } from './ask.ts';
import { Bearers } from './bearers.ts';
import { Budgets } from './budgets.ts';
import type {
  AskOutcome,
  Gateway,
  GatewayChange,
  GatewayOptions,
  ListenerSpec,
  RequestRecord,
  Verdict,
} from './contract.ts';
import { placeOf, recordAllow, recordDeny } from './core.ts';
import type { GatewayCore, H2Front, HttpFront } from './core.ts';
import type { OpenSession } from './http/contract.ts';
import { Judge } from './decide.ts';
import { netDialler, ownAddresses } from './dial.ts';
import { answerDns, serveDnsTcp, serveDnsUdp } from './dns.ts';
import { EventLog } from './event-log.ts';
import { FloodLog } from './flood-log.ts';
import type { Folding } from './flood-log.ts';
import { ALLOWED_FOLDING, ASKED_FOLDING, REQUEST_FOLDING, SUMMARY_FOLDING } from './folding.ts';
import { Flows } from './flows.ts';
import { AllowedOnce } from './http/allowed.ts';
import { HeldBytes } from './http/held-body.ts';
import { UpstreamPool } from './http/pool.ts';
import { serveHttpProxy } from './http-proxy.ts';
import { Ledger } from './ledger.ts';
import { GATEWAY_LIMITS } from './limits.ts';
import type { GatewayLimits } from './limits.ts';
import { NameGate } from './name-gate.ts';
import { ParentProxy } from './parent.ts';
import { problemBytes, problemOf } from './problem.ts';
import { systemResolver } from './resolve.ts';
import { rulesOf } from './rules/compile.ts';
import { Relay, type Arrival } from './relay.ts';
import { serveSocks } from './socks.ts';
import { SyntheticNames } from './synthetic.ts';
import { refuseSentinel, serveTransparent } from './transparent.ts';
import type { TlsHalf } from './tls/contract.ts';
import { Upstream } from './upstream.ts';
import { Withholder } from './withhold.ts';
import { reset, sayAndClose } from './wire.ts';

/** Reads of 64 KiB, libuv's slab, so that bulk transfers are not cut into smaller pieces. */
const READ_BYTES = 64 * 1024;

/**
 * Creates the gateway of one sandbox; it does nothing until listeners are attached. Throws E_POLICY_INVALID for a policy that cannot
 * be put in force.
 */
export function createGateway(options: GatewayOptions): Gateway {
  return new SandboxGateway(options);
}

/** The one place where the parts that belong to a policy are replaced. */
type OwnCore = { -readonly [Key in keyof GatewayCore]: GatewayCore[Key] };

class SandboxGateway implements Gateway {
  readonly #options: GatewayOptions;
  readonly #core: OwnCore;
  readonly #closing = new AbortController();
  /** What holds records back in a flood. */
  readonly #floods: { flush(): void }[] = [];
  readonly #withholder: Withholder;
  readonly #closers: (() => Promise<void>)[] = [];
  #http: Promise<HttpFront> | undefined;
  #h2: Promise<H2Front> | undefined;
  #tls: Promise<TlsHalf> | undefined;
  #closed: Promise<void> | undefined;
  /** In force. */
  #policy: NetworkPolicy;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.#policy = options.policy;
    compileRequests(options.policy);
    const limits = { ...GATEWAY_LIMITS, ...options.limits };
    // One listener for each lookup and dial under way: as many as there are connections, and no leak.
    setMaxListeners(0, this.#closing.signal);
    const { hostAddresses } = options;
    const own =
      hostAddresses === undefined ? ownAddresses() : (): ReadonlySet<string> => new Set(hostAddresses());
    const judge = new Judge(options.policy, own);
    const budgets = new Budgets(options.policy, { onUsedUp: (verdict) => this.#usedUp(verdict) });
    this.#withholder = new Withholder(options.recordGuard);
    const { ledger, events, onRequest } = this.#logs(options, limits);
    const names = new SyntheticNames(options.syntheticPool ?? 'benchmark', limits.names);
    // Names of the policy come first: the same addresses in every run, and a flood under a wildcard cannot use them up.
    for (const name of judge.exactNames()) names.addressOf(name);
    const upstream = new Upstream({
      judge,
      resolver: options.resolver ?? systemResolver(),
      dialler: options.dialler ?? netDialler,
      limits,
      closing: this.#closing.signal,
      track: (socket) => ledger.addUpstream(socket),
      parent: this.#parentFor(options.policy),
    });
    const tls = (): Promise<TlsHalf> => this.#loadTls();
    const openSession = async (): Promise<OpenSession> =>
      (await import('./http/h2-upstream.ts')).openH2(limits);
    const parts = { limits, judge, budgets, ledger, names, events, upstream, tls, openSession };
    const { broker, scanner, onAsk } = options;
    this.#core = {
      ...parts,
      flows: new Flows(),
      bearers: new Bearers(),
      nameGate: new NameGate(limits, budgets),
      pool: new UpstreamPool({
        ...parts,
        onUntrusted: (entry, target, verdict) => recordDeny(this.#core, placeOf(entry, target), verdict),
      }),
      allowed: new AllowedOnce((entry, target, address) => recordAllow(this.#core, entry, target, address)),
      held: new HeldBytes(limits.bufferedBytes),
      http: () => this.#loadHttp(),
      h2: () => this.#loadH2(),
      ...(onAsk === undefined ? {} : { desk: this.#deskFor(onAsk, judge, limits) }),
      ...(onRequest === undefined ? {} : { onRequest }),
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

  attachRelay(specs: readonly ListenerSpec[], server: Server, sshAgent?: (socket: Socket) => void): void {
    const { handshakeMs, connections } = this.#core.limits;
    const relay = new Relay(specs, {
      accept: (spec, socket, arrival) => this.#accept(spec, socket, arrival),
      answer: (message) => answerDns(this.#core, message),
      handshakeMs,
      connections,
      ...(sshAgent === undefined ? {} : { sshAgent }),
    });
    server.on('connection', (socket) => relay.serve(socket));
    server.on('error', () => undefined);
    this.#closers.push(() => {
      relay.close();
      return closeServer(server);
    });
  }

  update(change: GatewayChange): { readonly closed: number } {
    if (this.#closed !== undefined) return { closed: 0 };
    const { policy } = change;
    const { judge, budgets, events, names, pool, upstream, desk } = this.#core;
    compileRequests(policy);
    const parent = this.#parentFor(policy);
    judge.replace(policy);
    // From here on nothing throws.
    const former = this.#policy;
    this.#policy = policy;
    budgets.replace(policy);
    upstream.useParent(parent);
    events.renew();
    for (const name of judge.exactNames()) names.addressOf(name);
    if ('scanner' in change) this.#core.scanner = change.scanner;
    const distrusts = this.#changeTrust(former.trust ?? [], policy.trust ?? []);
    pool.retire();
    const closed = this.#rejudge(distrusts);
    desk?.replace(policy.ask);
    return { closed };
  }

  revoke(credential: string): { readonly closed: number } {
    return { closed: this.#core.bearers.revoke(credential) };
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

  #parentFor({ parentProxy }: NetworkPolicy): ParentProxy | undefined {
    if (parentProxy === undefined) return undefined;
    const { resolver = systemResolver(), dialler = netDialler, parentAuthorization } = this.#options;
    const { credential } = parentProxy;
    const parts = { policy: parentProxy, resolver, dialler };
    return new ParentProxy(
      credential === undefined || parentAuthorization === undefined
        ? parts
        : { ...parts, authorization: () => parentAuthorization(credential) },
    );
  }

  #deskFor(ask: NonNullable<GatewayOptions['onAsk']>, judge: Judge, limits: GatewayLimits): AskDesk {
    const { policy, onAsked } = this.#options;
    const outcomes = this.#folded<AskOutcome>((outcome) => onAsked?.(outcome), ASKED_FOLDING, limits);
    return new AskDesk({
      judge,
      policy: policy.ask,
      ask,
      onOutcome: (outcome) => outcomes.record(outcome),
      perMinute: limits.questionsPerMinute,
    });
  }

  #usedUp(verdict: Verdict): void {
    const { onOverBudget } = this.#options;
    if (this.#policy.overBudget === 'pause') this.#tell(() => onOverBudget?.(verdict));
  }

  /** Answers whether an authority lost its trust. */
  #changeTrust(former: readonly string[], trust: readonly string[]): boolean {
    const lost = former.some((file) => !trust.includes(file));
    if (!lost && former.length === trust.length) return false;
    const half = this.#tls;
    this.#tls = undefined;
    half?.then((each) => each.close()).catch(() => undefined);
    return lost;
  }

  #rejudge(distrusts: boolean): number {
    const { flows, upstream, judge } = this.#core;
    const cuts = [...flows.rejudge(judge, distrusts), ...upstream.recheck()];
    for (const { entry, target, verdict } of cuts) recordDeny(this.#core, placeOf(entry, target), verdict);
    return cuts.length;
  }

  #accept(spec: ListenerSpec, socket: Socket, arrival?: Arrival): void {
    socket.on('error', () => socket.destroy());
    if (this.#closing.signal.aborted) return void socket.destroy();
    if (this.#core.ledger.clients >= this.#core.limits.connections) return this.#refuseFull(spec, socket);
    this.#core.ledger.addClient(socket);
    // A defect in serving one connection must end that connection, closed, and no other.
    this.#serve(spec, socket, arrival).catch(() => socket.destroy());
  }

  async #serve(spec: ListenerSpec, socket: Socket, arrival: Arrival | undefined): Promise<void> {
    switch (spec.role) {
      case 'dns':
        return serveDnsTcp(this.#core, socket);
      case 'http-proxy':
        return serveHttpProxy(this.#core, socket);
      case 'socks':
        return serveSocks(this.#core, socket);
      case 'transparent':
        return serveTransparent(this.#core, socket, arrival);
      case 'sentinel':
        return refuseSentinel(this.#core, socket, arrival);
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

  /** Where decisions and their ends go. Kinds that a sandbox makes any number of are folded in a flood. */
  #logs(
    options: GatewayOptions,
    limits: GatewayLimits,
  ): Pick<GatewayCore, 'ledger' | 'events' | 'onRequest'> {
    const { onEvent, onConnection, onRequest } = options;
    const summaries = this.#folded(onConnection, SUMMARY_FOLDING, limits);
    const allowed = this.#folded(onEvent, ALLOWED_FOLDING, limits);
    const events = new EventLog((event) => {
      if (event.action === 'allow') allowed.record(event);
      else this.#withholder.event(event, (shown) => this.#tell(() => onEvent(shown)));
    }, limits);
    const ledger = new Ledger((summary) => summaries.record(summary));
    if (onRequest === undefined) return { ledger, events };
    const shown = (record: RequestRecord): void =>
      this.#withholder.request(record, (one) => this.#tell(() => onRequest(one)));
    const requests = this.#folded(shown, REQUEST_FOLDING, limits);
    return { ledger, events, onRequest: (record) => requests.record(record) };
  }

  #folded<T extends object>(
    sink: (item: T) => void,
    folding: Folding<T>,
    limits: GatewayLimits,
  ): FloodLog<T> {
    const log = new FloodLog<T>((item) => this.#tell(() => sink(item)), folding, limits);
    this.#floods.push(log);
    return log;
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

  #loadTls(): Promise<TlsHalf> {
    const { authority, roots } = this.#options;
    const { limits } = this.#core;
    const { trust } = this.#policy;
    this.#tls ??= import('./tls/half.ts').then((module) =>
      module.createTlsHalf({ authority, roots, trust, limits }),
    );
    return this.#tls;
  }

  async #shutDown(): Promise<void> {
    this.#closing.abort();
    this.#core.desk?.close();
    const listeners = this.#closers.map((close) => close());
    const http = await this.#http;
    http?.close();
    this.#core.pool.close();
    (await this.#h2)?.close();
    (await this.#tls)?.close();
    await this.#core.ledger.closeAll();
    await Promise.all(listeners);
    this.#core.events.close();
    for (const log of this.#floods) log.flush();
    await this.#withholder.settle();
  }
}

/** So that no request meets a pattern that cannot be compared. */
function compileRequests(policy: NetworkPolicy): void {
  for (const rule of policy.allow) rulesOf(rule);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
