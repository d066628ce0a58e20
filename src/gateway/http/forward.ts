import { forwardedHeaders } from '../../net/http-head.ts';
import type { CredentialBroker, CredentialVerdict, OutgoingRequest, Verdict } from '../contract.ts';
import type { GatewayCore, HttpScope } from '../core.ts';
import { statusOf } from '../problem.ts';
import type { TunnelResult } from '../tunnel.ts';
import type {
  AcquireOptions,
  BodySource,
  ClientExchange,
  ExchangeRequest,
  ResponseHead,
  UpstreamConnection,
  UpstreamHandlers,
} from './contract.ts';
import { needsHttp2 } from './h2-grpc.ts';
import { tooLongProblem } from './inspect.ts';
import type { Located } from './judge.ts';
import { MeteredSink } from './meters.ts';
import { noteRefusal } from './record.ts';
import type { Notes } from './record.ts';
import type { RequestBody } from './request-body.ts';
import { responsePlan } from './response.ts';
import type { ResponsePlan } from './response.ts';
import { runUpgrade } from './upgrade.ts';

/** Tries of one request: an origin closes idle connections when it likes, but a second and third time is no accident. */
const TRIES_MAX = 3;

/** A request that was admitted, with all that is known of it. */
export interface ForwardParts {
  readonly core: GatewayCore;
  readonly scope: HttpScope;
  readonly exchange: ClientExchange;
  readonly notes: Notes;
  readonly located: Located;
  /** As it is going to be sent. */
  readonly outgoing: OutgoingRequest;
  readonly body: RequestBody;
}

/** Who is told how it goes. */
export interface ForwardOwner {
  refuse(status: number, verdict: Verdict): void;
  /** The network behind an allowed destination failed: no decision. */
  fail(why?: string, verdict?: Verdict): void;
  /** The client's body was cut or malformed. */
  broken(): void;
  /** The connection is a WebSocket's now. */
  switched(): void;
  /** The WebSocket was cut. */
  cut(verdict: Verdict): void;
  ended(result: TunnelResult): void;
}

/** The way of one admitted request to its origin, and of the answer back. */
export class Forwarding {
  #parts: ForwardParts;
  readonly #owner: ForwardOwner;
  #connection: UpstreamConnection | undefined;
  #upload: MeteredSink | undefined;
  #uploaded = false;
  #begun = false;
  #tries = 0;
  #over = false;
  #switched = false;
  /** Takes it out of what a revocation reaches. */
  #forget: (() => void) | undefined;

  constructor(parts: ForwardParts, owner: ForwardOwner) {
    this.#parts = parts;
    this.#owner = owner;
  }

  /** An answer of the origin is on its way to the client. */
  get begun(): boolean {
    return this.#begun;
  }

  start(): void {
    this.#tries++;
    const { core, located, scope } = this.#parts;
    const { target, secure, websocket } = located;
    const http2 = target.rule.requests?.http2 === true && !websocket;
    const options = { secure, http2, entry: scope.entry, wanted: (): boolean => !this.#over };
    const ready = core.pool.take(target, options);
    if (ready !== undefined) return this.#acquired(ready);
    void this.#wait(options);
  }

  /** The gateway answers itself. A connection that has sent nothing goes back to the pool; `release` ends any other. */
  drop(): void {
    this.#over = true;
    this.#upload?.stop();
    this.#connection?.release();
    this.#connection = undefined;
  }

  /** The origin must never take what it has for a whole request. */
  abort(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.abort();
  }

  /** The exchange is over. */
  end(complete: boolean): void {
    this.#over = true;
    this.#forget?.();
    this.#upload?.stop();
    if (!complete || !this.#uploaded) this.#connection?.abort();
    this.#connection = undefined;
  }

  async #wait(options: AcquireOptions): Promise<void> {
    try {
      const acquired = await this.#parts.core.pool.acquire(this.#parts.located.target, options);
      if (acquired.state === 'ok') this.#acquired(acquired.connection);
      else if (this.#over) return;
      else if (acquired.state === 'denied') this.#owner.refuse(statusOf(acquired.verdict), acquired.verdict);
      else this.#owner.fail(acquired.why, acquired.verdict);
    } catch {
      this.#owner.fail();
    }
  }

  /** The destination is vetted, connected and, with TLS, proven: only now may a 100 or a secret be given. */
  #acquired(connection: UpstreamConnection): void {
    if (this.#over) return connection.release();
    this.#connection = connection;
    const { core, scope, located, exchange, outgoing } = this.#parts;
    core.allowed.note(scope, located.target, connection.address);
    if (connection.http !== '2' && needsHttp2(exchange.request))
      return this.#owner.fail('the origin speaks no HTTP/2, which gRPC needs');
    if (core.broker === undefined) return this.#send(connection, outgoing);
    void this.#authorize(core.broker, connection);
  }

  /** Puts the secret in; the last step before the request leaves. */
  async #authorize(broker: CredentialBroker, connection: UpstreamConnection): Promise<void> {
    const { notes, outgoing, located, body } = this.#parts;
    try {
      const verdict = await broker.authorize(outgoing);
      if (this.#over) return;
      if (verdict.state === 'refuse') {
        noteRefusal(notes, verdict);
        return this.#owner.refuse(verdict.status, verdict.verdict);
      }
      notes.pin = verdict.pin;
      notes.credential = verdict.credential;
      if (verdict.credential !== undefined) this.#watchRevocation(verdict.credential);
      body.replace(verdict.body ?? body.whole);
      this.#send(connection, asAuthorized(outgoing, verdict, located.authority));
    } catch {
      this.#owner.fail();
    }
  }

  /** A request that is tried again carries it once more. */
  #watchRevocation(credential: string): void {
    this.#forget?.();
    this.#forget = this.#parts.core.bearers.add(credential, (verdict) => {
      if (!this.#switched) return this.#owner.refuse(403, verdict);
      this.#owner.cut(verdict);
      this.#parts.exchange.destroy();
    });
  }

  #send(connection: UpstreamConnection, outgoing: OutgoingRequest): void {
    const { core, located, body } = this.#parts;
    const plan = responsePlan(core, outgoing);
    const { method, target } = outgoing;
    const request: ExchangeRequest = {
      http: '1.1',
      method,
      target,
      headers: plan.requestHeaders(outgoing.headers),
      body: body.framing(located),
    };
    const handlers = {
      response: (head: ResponseHead, source: BodySource | undefined): void => {
        if (this.#over) return source?.cancel();
        this.#respond(plan, head, source);
      },
      failed: (why: string, retryable: boolean): void => this.#failed(why, retryable),
    };
    if (outgoing.websocket) return this.#upgrade(connection, { outgoing, request, handlers });
    body.sendContinue();
    const sink = connection.send(request, handlers);
    if (sink === undefined || !body.isThere) {
      this.#uploaded = true;
      return;
    }
    const watch = core.broker?.watchBody(outgoing);
    this.#upload = new MeteredSink(sink, this.#uploadOwner(), watch, request.body.kind === 'length');
    body.pour(this.#upload);
    if (outgoing.body !== undefined) this.#letGo();
  }

  /** A body that was held belongs to its way to the origin: the answer may take minutes. */
  #letGo(): void {
    const { body: _body, ...outgoing } = this.#parts.outgoing;
    this.#parts = { ...this.#parts, outgoing };
  }

  #uploadOwner(): ConstructorParameters<typeof MeteredSink>[1] {
    return {
      take: (bytes) => this.#takeUpload(bytes),
      cut: (verdict, found) => {
        if (found) this.#parts.notes.alarm = true;
        this.#owner.refuse(found ? 403 : 413, verdict);
      },
      whole: () => void (this.#uploaded = true),
      broken: () => this.#owner.broken(),
    };
  }

  #takeUpload(bytes: number): Verdict | undefined {
    const { core, located, notes } = this.#parts;
    const { rule } = located.target;
    const max = rule.requests?.limits.bodyBytes;
    if (max !== undefined && notes.up + bytes > max) return tooLongProblem(rule, max).verdict;
    const verdict = core.budgets.take(rule, 'uploadBytes', bytes);
    if (verdict === undefined) notes.up += bytes;
    return verdict;
  }

  #upgrade(
    connection: UpstreamConnection,
    sent: {
      readonly outgoing: OutgoingRequest;
      readonly request: ExchangeRequest;
      readonly handlers: UpstreamHandlers;
    },
  ): void {
    const { core, exchange, located, notes } = this.#parts;
    this.#uploaded = true;
    runUpgrade({
      core,
      exchange,
      target: located.target,
      connection,
      notes,
      ...sent,
      onSwitched: () => {
        this.#connection = undefined;
        this.#switched = true;
        this.#owner.switched();
      },
      onCut: (verdict) => this.#owner.cut(verdict),
      onEnd: (result) => this.#owner.ended(result),
    });
  }

  #respond(plan: ResponsePlan, head: ResponseHead, source: BodySource | undefined): void {
    const planned = plan.respond(head);
    if (typeof planned === 'string') {
      source?.cancel();
      return this.#owner.fail(planned);
    }
    const { core, exchange, located, notes } = this.#parts;
    this.#begun = true;
    notes.status = head.status;
    const sink = exchange.respond(planned.head, source !== undefined);
    if (source === undefined) return;
    const { rule } = located.target;
    const take = (bytes: number): Verdict | undefined => {
      const verdict = core.budgets.take(rule, 'downloadBytes', bytes);
      if (verdict === undefined) notes.down += bytes;
      return verdict;
    };
    const cut = (verdict: Verdict): void => this.#owner.refuse(429, verdict);
    source.pipe(new MeteredSink(planned.through(sink), { take, cut }));
  }

  #failed(why: string, retryable: boolean): void {
    if (this.#over || this.#begun) return;
    const { method } = this.#parts.exchange.request;
    const safe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
    this.#connection = undefined;
    if (retryable && safe && !this.#parts.body.isThere && this.#tries < TRIES_MAX) return this.start();
    this.#owner.fail(why);
  }
}

/** The request with its secrets in. Written out: a copy by spreading costs several times as much, and this runs for every request. */
function asAuthorized(
  outgoing: OutgoingRequest,
  verdict: Extract<CredentialVerdict, { state: 'pass' }>,
  authority: string,
): OutgoingRequest {
  const { rule, host, port, secure, method, path, websocket, body } = outgoing;
  const headers = forwardedHeaders(verdict.headers, authority);
  const sent = { rule, host, port, secure, method, target: verdict.target, path, headers, websocket };
  return body === undefined ? sent : { ...sent, body };
}
