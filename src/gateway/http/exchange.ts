import { forwardedHeaders } from '../../net/http-head.ts';
import type { CredentialBroker, OutgoingRequest, Verdict } from '../contract.ts';
import { placeOf, recordDeny } from '../core.ts';
import type { GatewayCore, HttpScope, Place } from '../core.ts';
import type { Allowed } from '../decide.ts';
import { failureOf, problemOf, statusOf } from '../problem.ts';
import { earlyProblem, framingOf, judgeByRules, lateVerdict } from './admission.ts';
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
import { HeldBody } from './held-body.ts';
import { bodyProblem, headProblem, isScanned, tooLongProblem } from './inspect.ts';
import { judgeRequest, malformed } from './judge.ts';
import type { Located } from './judge.ts';
import { MeteredSink } from './meters.ts';
import { newNotes, recordOf } from './record.ts';
import type { Notes } from './record.ts';
import { responsePlan } from './response.ts';
import { runUpgrade } from './upgrade.ts';

/** Tries of one request: an origin closes idle connections when it likes, but a second and third time is no accident. */
const TRIES_MAX = 3;

/** Takes one request through the checks, to its origin and back: the one way for HTTP/1 and HTTP/2. */
export function runExchange(core: GatewayCore, scope: HttpScope, exchange: ClientExchange): void {
  new Run(core, scope, exchange).start();
}

class Run {
  readonly #core: GatewayCore;
  readonly #scope: HttpScope;
  readonly #exchange: ClientExchange;
  readonly #notes: Notes;
  #located: Located | undefined;
  /** As it is going to be sent. */
  #outgoing: OutgoingRequest | undefined;
  #held: HeldBody | undefined;
  /** The whole body, where it was held. */
  #body: Buffer | undefined;
  #connection: UpstreamConnection | undefined;
  #upload: MeteredSink | undefined;
  #uploaded = false;
  #begun = false;
  #continued = false;
  #entered = false;
  #bodyBroke = false;
  #tries = 0;
  #timer: NodeJS.Timeout | undefined;
  #over = false;

  constructor(core: GatewayCore, scope: HttpScope, exchange: ClientExchange) {
    this.#core = core;
    this.#scope = scope;
    this.#exchange = exchange;
    this.#notes = newNotes(exchange.request);
  }

  start(): void {
    this.#exchange.onClose((complete) => this.#closed(complete));
    const judged = judgeRequest(this.#core, this.#exchange.request, this.#scope);
    if (judged.state === 'refuse') return this.#refuse(judged.status, judged.verdict, judged.place);
    this.#located = judged;
    this.#notes.target = judged.target;
    const early = earlyProblem(this.#core, judged);
    if (early !== undefined) return this.#refuse(early.status, early.verdict);
    this.#judgeRules(judged);
  }

  #judgeRules(located: Located): void {
    const rules = judgeByRules(located, this.#exchange.request);
    this.#notes.path = rules.path;
    this.#notes.queryNames = rules.queryNames;
    if (rules.state === 'refuse') return this.#refuse(rules.status, rules.verdict);
    this.#notes.wouldDeny = rules.wouldDeny;
    this.#outgoing = rules.outgoing;
    this.#inspect(rules.outgoing, rules.needsBody);
  }

  #inspect(outgoing: OutgoingRequest, needsBody: boolean): void {
    const { scanner, broker } = this.#core;
    const scans = scanner !== undefined && isScanned(scanner, outgoing.rule);
    const found = scans ? headProblem(scanner, outgoing, this.#notes) : undefined;
    if (found !== undefined) return this.#refuse(found.status, found.verdict);
    const { source } = this.#exchange;
    const must = needsBody || broker?.wantsBody(outgoing) === true;
    if (source === undefined || (!must && !scans)) return this.#admit();
    const { limits } = this.#core;
    const ruleMax = outgoing.rule.requests?.limits.bodyBytes ?? limits.bodyBytes;
    const max = must ? ruleMax : Math.min(ruleMax, scanner?.maxInspectBytes ?? ruleMax);
    this.#hold(source, max, must);
  }

  #hold(source: BodySource, max: number, must: boolean): void {
    const held = new HeldBody(this.#core.held, max, {
      whole: (body) => this.#judgeBody(body, must),
      tooLong: () => this.#tooLong(max, must),
      broken: () => this.#broken(),
    });
    this.#held = held;
    this.#sendContinue();
    source.pipe(held);
  }

  #tooLong(max: number, must: boolean): void {
    const outgoing = this.#outgoing;
    if (outgoing === undefined) return;
    const lenient = !must && this.#core.scanner?.uninspectable === 'allow';
    if (lenient) this.#admit();
    else this.#refuse(413, tooLongProblem(outgoing.rule, max).verdict);
  }

  #judgeBody(body: Buffer, must: boolean): void {
    const outgoing = this.#outgoing;
    if (outgoing === undefined || this.#over) return;
    const request = { ...outgoing, body };
    this.#outgoing = request;
    this.#body = body;
    const { http } = this.#exchange.request;
    const found = bodyProblem(this.#core, { request, http, rules: must }, this.#notes);
    if (found === undefined) this.#admit();
    else this.#refuse(found.status, found.verdict);
  }

  /** Budgets; from here on the request counts. */
  #admit(): void {
    const target = this.#located?.target;
    if (target === undefined || this.#over) return;
    const { budgets } = this.#core;
    const upload = budgets.check(target.rule, 'uploadBytes', this.#body?.length ?? 0);
    if (upload !== undefined) return this.#refuse(413, upload);
    const requests = budgets.check(target.rule, 'requests', 1) ?? budgets.enter(target.rule);
    if (requests !== undefined) return this.#refuse(statusOf(requests), requests);
    budgets.take(target.rule, 'requests');
    this.#entered = true;
    const requestMs = target.rule.requests?.limits.requestMs;
    if (requestMs !== undefined) {
      const verdict = lateVerdict(target.rule, requestMs);
      this.#timer = setTimeout(() => this.#refuse(504, verdict), requestMs).unref();
    }
    this.#acquire(target);
  }

  #acquire(target: Allowed): void {
    this.#tries++;
    const located = this.#located;
    const http2 = target.rule.requests?.http2 === true && located?.websocket !== true;
    const options = { secure: located?.secure === true, http2 };
    const ready = this.#core.pool.take(target, options);
    if (ready !== undefined) return this.#acquired(ready);
    void this.#wait(target, options);
  }

  async #wait(target: Allowed, options: AcquireOptions): Promise<void> {
    try {
      const acquired = await this.#core.pool.acquire(target, options);
      if (acquired.state === 'ok') this.#acquired(acquired.connection);
      else if (this.#over) return;
      else if (acquired.state === 'denied') this.#refuse(statusOf(acquired.verdict), acquired.verdict);
      else this.#fail();
    } catch {
      this.#fail();
    }
  }

  /** The destination is vetted, connected and, with TLS, proven: only now may a 100 or a secret be given. */
  #acquired(connection: UpstreamConnection): void {
    const outgoing = this.#outgoing;
    if (this.#over || outgoing === undefined) return connection.release();
    this.#connection = connection;
    this.#core.allowed.note(this.#scope, this.#allowed(), connection.address);
    if (connection.http !== '2' && needsHttp2(this.#exchange.request)) return this.#fail();
    const { broker } = this.#core;
    if (broker === undefined) return this.#send(connection, outgoing);
    void this.#authorize(broker, connection, outgoing);
  }

  /** Puts the secret in; the last step before the request leaves. */
  async #authorize(
    broker: CredentialBroker,
    connection: UpstreamConnection,
    outgoing: OutgoingRequest,
  ): Promise<void> {
    try {
      const verdict = await broker.authorize(outgoing);
      if (this.#over) return;
      this.#notes.pin = verdict.pin;
      if (verdict.state === 'refuse') {
        this.#notes.foreign = verdict.foreign;
        this.#notes.alarm = verdict.alarm === true;
        return this.#refuse(verdict.status, verdict.verdict);
      }
      this.#notes.credential = verdict.credential;
      const { target, headers, body = this.#body } = verdict;
      this.#body = body;
      const authority = this.#located?.authority ?? '';
      this.#send(connection, { ...outgoing, target, headers: forwardedHeaders(headers, authority) });
    } catch {
      this.#fail();
    }
  }

  #send(connection: UpstreamConnection, outgoing: OutgoingRequest): void {
    const plan = responsePlan(this.#core, outgoing);
    const { method, target, websocket } = outgoing;
    const headers = plan.requestHeaders(outgoing.headers);
    const request: ExchangeRequest = {
      http: '1.1',
      method,
      target,
      headers,
      body: framingOf(this.#exchange, this.#located, this.#body),
    };
    const handlers = {
      response: (head: ResponseHead, source: BodySource | undefined): void => {
        if (this.#over) return source?.cancel();
        this.#respond(plan, head, source);
      },
      failed: (_why: string, retryable: boolean): void => this.#failed(retryable),
    };
    if (websocket) return this.#upgrade(connection, outgoing, request, handlers);
    this.#sendContinue();
    const sink = connection.send(request, handlers);
    const source = this.#held ?? this.#exchange.source;
    if (sink === undefined || source === undefined) {
      this.#uploaded = true;
      return;
    }
    const watch = this.#core.broker?.watchBody(outgoing);
    const isLength = request.body.kind === 'length';
    const owner = {
      take: (bytes: number): Verdict | undefined => this.#takeUpload(bytes),
      cut: (verdict: Verdict, found: boolean): void => {
        if (found) this.#notes.alarm = true;
        this.#refuse(found ? 403 : 413, verdict);
      },
      whole: (): void => void (this.#uploaded = true),
      broken: (): void => this.#broken(),
    };
    this.#upload = new MeteredSink(sink, owner, watch, isLength);
    if (this.#body === undefined) return source.pipe(this.#upload);
    this.#held?.drop();
    this.#upload.write(this.#body);
    this.#upload.end();
  }

  #upgrade(
    connection: UpstreamConnection,
    outgoing: OutgoingRequest,
    request: ExchangeRequest,
    handlers: UpstreamHandlers,
  ): void {
    this.#uploaded = true;
    runUpgrade({
      core: this.#core,
      exchange: this.#exchange,
      target: this.#allowed(),
      outgoing,
      connection,
      request,
      handlers,
      notes: this.#notes,
      onSwitched: () => {
        this.#notes.status = 101;
        this.#connection = undefined;
        clearTimeout(this.#timer);
      },
      onCut: (verdict) => {
        this.#notes.refusal = verdict;
        recordDeny(this.#core, placeOf(this.#scope.entry, this.#allowed()), verdict);
      },
      onEnd: (result) => {
        Object.assign(this.#notes, { up: result.upBytes, down: result.downBytes });
        this.#closed(true);
      },
    });
  }

  #takeUpload(bytes: number): Verdict | undefined {
    const { rule } = this.#allowed();
    const max = rule.requests?.limits.bodyBytes;
    if (max !== undefined && this.#notes.up + bytes > max) return tooLongProblem(rule, max).verdict;
    const verdict = this.#core.budgets.take(rule, 'uploadBytes', bytes);
    if (verdict === undefined) this.#notes.up += bytes;
    return verdict;
  }

  #respond(plan: ReturnType<typeof responsePlan>, head: ResponseHead, source: BodySource | undefined): void {
    const planned = plan.respond(head);
    if (typeof planned === 'string') {
      source?.cancel();
      return this.#fail();
    }
    this.#begun = true;
    this.#notes.status = head.status;
    const sink = this.#exchange.respond(planned.head, source !== undefined);
    if (source === undefined) return;
    const { rule } = this.#allowed();
    const take = (bytes: number): Verdict | undefined => {
      const verdict = this.#core.budgets.take(rule, 'downloadBytes', bytes);
      if (verdict === undefined) this.#notes.down += bytes;
      return verdict;
    };
    const cut = (verdict: Verdict): void => this.#refuse(429, verdict);
    source.pipe(new MeteredSink(planned.through(sink), { take, cut }));
  }

  /** Records a refusal and says it; where an answer has begun already it is cut. */
  #refuse(status: number, verdict: Verdict, place?: Place): void {
    if (this.#over) return;
    const target = this.#located?.target;
    const where = place ?? (target === undefined ? undefined : placeOf(this.#scope.entry, target));
    // What is cut now had been allowed until then.
    if (target !== undefined && this.#entered) this.#core.allowed.note(this.#scope, target, undefined);
    if (where !== undefined) recordDeny(this.#core, where, verdict);
    this.#notes.refusal = verdict;
    this.#notes.place = where;
    this.#dropUpstream();
    if (this.#begun) return this.#exchange.destroy();
    this.#notes.status = status;
    this.#exchange.answer(problemOf(status, verdict));
  }

  #dropUpstream(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#upload?.stop();
    this.#held?.drop();
    // One that has sent nothing goes back to the pool; `release` ends any other.
    connection?.release();
  }

  #failed(retryable: boolean): void {
    if (this.#over || this.#begun) return;
    const { method } = this.#exchange.request;
    const safe = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
    this.#connection = undefined;
    if (retryable && safe && this.#exchange.source === undefined && this.#tries < TRIES_MAX)
      return this.#acquire(this.#allowed());
    this.#fail();
  }

  /** The network behind an allowed destination failed: no decision. */
  #fail(): void {
    if (this.#over || this.#begun || this.#bodyBroke) return;
    const target = this.#allowed();
    this.#core.allowed.note(this.#scope, target, undefined);
    this.#dropUpstream();
    this.#notes.status = 502;
    this.#exchange.answer(failureOf(502, `${target.host} port ${target.port} did not answer properly`));
  }

  /** The client's body was cut or malformed: the origin must never take what it has for a whole request. */
  #broken(): void {
    this.#bodyBroke = true;
    const connection = this.#connection;
    this.#connection = undefined;
    this.#held?.drop();
    connection?.abort();
  }

  #sendContinue(): void {
    if (this.#continued || !this.#exchange.expectsContinue) return;
    this.#continued = true;
    this.#exchange.sendContinue();
  }

  #closed(complete: boolean): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#upload?.stop();
    this.#held?.drop();
    if (!complete || !this.#uploaded) this.#connection?.abort();
    this.#connection = undefined;
    const target = this.#located?.target;
    if (this.#entered && target !== undefined) this.#core.budgets.leave(target.rule);
    const { onRequest } = this.#core;
    if (onRequest === undefined) return;
    if (this.#bodyBroke && complete && !this.#begun) {
      this.#notes.status = 400;
      this.#notes.refusal = malformed('its body is cut or malformed');
    }
    onRequest(recordOf(this.#scope, this.#exchange.request, this.#notes));
  }

  #allowed(): Allowed {
    const target = this.#located?.target;
    if (target === undefined) throw new Error('a request without a destination');
    return target;
  }
}
