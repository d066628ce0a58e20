import type { OutgoingRequest, Verdict } from '../contract.ts';
import { placeOf, recordDeny } from '../core.ts';
import type { GatewayCore, HttpScope, Place } from '../core.ts';
import type { Allowed, Decision, Denied } from '../decide.ts';
import { failureOf, problemOf, statusOf } from '../problem.ts';
import type { TunnelResult } from '../tunnel.ts';
import { earlyProblem, headBytes, judgeByRules, lateVerdict } from './admission.ts';
import type { Admitted } from './admission.ts';
import type { ClientExchange } from './contract.ts';
import { Forwarding } from './forward.ts';
import type { ForwardOwner } from './forward.ts';
import { bodyProblem, headProblem, isScanned, tooLongProblem, unscannedProblem } from './inspect.ts';
import type { Problem } from './inspect.ts';
import { judgeRequest, malformed } from './judge.ts';
import type { Located, Refusal } from './judge.ts';
import type { LastJudged } from './last-judged.ts';
import { holdsSecret, newNotes, noteRefusal, recordOf } from './record.ts';
import type { Notes } from './record.ts';
import { RequestBody } from './request-body.ts';

/**
 * Takes one request through the checks, to its origin and back: the one way for HTTP/1 and HTTP/2. `last`: of this connection, where
 * its requests have one destination.
 */
export function runExchange(
  core: GatewayCore,
  scope: HttpScope,
  exchange: ClientExchange,
  last?: LastJudged,
): void {
  new Run(core, scope, exchange, last).start();
}

/** The checks of one request, in their order, and how it ends. What comes after them is `Forwarding`. */
class Run implements ForwardOwner {
  readonly #core: GatewayCore;
  readonly #scope: HttpScope;
  readonly #exchange: ClientExchange;
  readonly #last: LastJudged | undefined;
  readonly #notes: Notes;
  readonly #body: RequestBody;
  #located: Located | undefined;
  #forward: Forwarding | undefined;
  /** It counts as under way in the budgets. */
  #entered = false;
  #bodyBroke = false;
  #timer: NodeJS.Timeout | undefined;
  /** Takes it out of what a new policy looks at. */
  #forget: (() => void) | undefined;
  /** The gateway has given its own answer. */
  #answered = false;
  #over = false;

  constructor(core: GatewayCore, scope: HttpScope, exchange: ClientExchange, last: LastJudged | undefined) {
    this.#core = core;
    this.#scope = scope;
    this.#exchange = exchange;
    this.#last = last;
    this.#notes = newNotes(exchange.request);
    this.#body = new RequestBody(exchange, core.held);
  }

  start(): void {
    this.#exchange.onClose((complete) => this.#closed(complete));
    this.#locate();
  }

  #locate(settled?: Decision): void {
    const { request } = this.#exchange;
    const judge = (): Located | Refusal => judgeRequest(this.#core, request, this.#scope, settled);
    const judged = this.#last === undefined ? judge() : this.#last.structure.of(request, judge);
    if (judged.state === 'pass') return this.#judgeRules(judged);
    if (judged.question !== undefined) return void this.#ask(judged.question);
    this.refuse(judged.status, judged.verdict, judged.place);
  }

  /** Nothing of the body is read while somebody is asked. */
  async #ask(question: Denied): Promise<void> {
    // What the record says of a client that does not wait for the answer.
    this.#notes.refusal = question.verdict;
    this.#notes.place = question;
    const settled = await this.#core.desk?.settle(question, this.#scope.entry);
    if (this.#over) return;
    this.#notes.refusal = undefined;
    this.#notes.place = undefined;
    this.#locate(settled ?? question);
  }

  #judgeRules(located: Located): void {
    this.#located = located;
    this.#notes.target = located.target;
    // A pinned connection is under way as a whole; a proxy connection is not, its requests are.
    if (this.#scope.kind === 'proxy') this.#forget = this.#watchPolicy(located.target);
    const early = earlyProblem(this.#core, located);
    if (early !== undefined) return this.refuse(early.status, early.verdict);
    const judge = (): Admitted => judgeByRules(located, this.#exchange.request);
    const rules = this.#last === undefined ? judge() : this.#last.rules.of(located, judge);
    this.#notes.path = rules.path;
    this.#notes.queryNames = rules.queryNames;
    if (rules.state === 'refuse') {
      // The rule's own refusal stands; whose key came with the request is worth knowing all the same.
      const known = this.#noteCredential(rules.seen);
      // It may quote the path, which must not be where a secret gets written down.
      const { status, verdict } = known !== undefined && holdsSecret(this.#notes) ? known : rules;
      return this.refuse(status, verdict);
    }
    this.#notes.wouldDeny = rules.wouldDeny;
    this.#inspect(located, rules.outgoing, rules.needsBody);
  }

  /** Takes down what the broker has against the credentials of a request that will not be authorised. */
  #noteCredential(request: OutgoingRequest): ReturnType<NonNullable<GatewayCore['broker']>['check']> {
    const { broker } = this.#core;
    if (broker === undefined || broker.wantsBody(request)) return undefined;
    const found = broker.check(request);
    if (found !== undefined) noteRefusal(this.#notes, found);
    return found;
  }

  #watchPolicy(target: Allowed): () => void {
    return this.#core.flows.add(this.#scope.entry, target, (verdict) => {
      this.#notes.refusal = verdict;
      this.#exchange.destroy();
    });
  }

  #inspect(located: Located, outgoing: OutgoingRequest, needsBody: boolean): void {
    const { scanner, broker, limits } = this.#core;
    const scans = scanner !== undefined && isScanned(scanner, outgoing.rule);
    // A foreign key has a shape that the scanner knows too: the broker can say whose it is not, so it comes first.
    const found = scans
      ? (this.#noteCredential(outgoing) ?? headProblem(scanner, outgoing, this.#notes))
      : undefined;
    if (found !== undefined) return this.refuse(found.status, found.verdict);
    const { source } = this.#exchange;
    const must = needsBody || broker?.wantsBody(outgoing) === true;
    // A long form is judged as it passes.
    const may = scans || broker?.readsForm(outgoing) === true;
    if (source === undefined || (!must && !may)) return this.#admit(located, outgoing);
    const ruleMax = outgoing.rule.requests?.limits.bodyBytes ?? limits.bodyBytes;
    const max = must ? ruleMax : Math.min(ruleMax, scans ? scanner.maxInspectBytes : limits.formBytes);
    const lenient = !must && (!scans || scanner.uninspectable === 'allow');
    this.#body.hold(source, max, {
      whole: (body) => this.#judgeBody(located, { ...outgoing, body }, must),
      tooLong: () => {
        if (lenient) this.#admit(located, outgoing);
        else
          this.refuse(413, (max < ruleMax ? unscannedProblem : tooLongProblem)(outgoing.rule, max).verdict);
      },
      broken: () => this.broken(),
    });
  }

  #judgeBody(located: Located, request: OutgoingRequest & { readonly body: Buffer }, rules: boolean): void {
    if (this.#over) return;
    const { http } = this.#exchange.request;
    const judged = bodyProblem(this.#core, { request, http, rules }, this.#notes);
    const settle = (found: Problem | undefined): void => {
      if (found === undefined) this.#admit(located, request);
      else this.refuse(found.status, found.verdict);
    };
    if (judged instanceof Promise) void judged.then(settle);
    else settle(judged);
  }

  /** Budgets; from here on the request counts. */
  #admit(located: Located, outgoing: OutgoingRequest): void {
    if (this.#over) return;
    const { budgets } = this.#core;
    const { rule } = located.target;
    const head = headBytes(outgoing);
    const upload = budgets.check(rule, 'uploadBytes', head + (this.#body.whole?.length ?? 0));
    if (upload !== undefined) return this.refuse(413, upload);
    const requests = budgets.check(rule, 'requests', 1) ?? budgets.enter(rule);
    if (requests !== undefined) return this.refuse(statusOf(requests), requests);
    budgets.take(rule, 'requests');
    budgets.take(rule, 'uploadBytes', head);
    this.#entered = true;
    const requestMs = rule.requests?.limits.requestMs;
    if (requestMs !== undefined)
      this.#timer = setTimeout(() => this.refuse(504, lateVerdict(rule, requestMs)), requestMs).unref();
    const parts = {
      core: this.#core,
      scope: this.#scope,
      exchange: this.#exchange,
      notes: this.#notes,
      located,
      outgoing,
      body: this.#body,
    };
    this.#forward = new Forwarding(parts, this);
    this.#forward.start();
  }

  /** Records a refusal and says it; where an answer has begun already it is cut. */
  refuse(status: number, verdict: Verdict, place?: Place): void {
    if (this.#over || this.#answered) return;
    this.#answered = true;
    const target = this.#located?.target;
    const where = place ?? (target === undefined ? undefined : placeOf(this.#scope.entry, target));
    // What is cut now had been allowed until then.
    if (target !== undefined && this.#entered) this.#core.allowed.note(this.#scope, target, undefined);
    else this.#core.budgets.countRefused(target?.rule);
    if (where !== undefined) recordDeny(this.#core, where, verdict);
    this.#notes.refusal = verdict;
    this.#notes.place = where;
    this.#forward?.drop();
    this.#body.drop();
    if (this.#forward?.begun === true) return this.#exchange.destroy();
    this.#notes.status = status;
    this.#exchange.answer(problemOf(status, verdict));
  }

  fail(why?: string, verdict?: Verdict): void {
    const target = this.#located?.target;
    const done = this.#over || this.#answered || this.#bodyBroke || this.#forward?.begun === true;
    if (done || target === undefined) return;
    this.#answered = true;
    // An origin that cannot prove who it is was refused, and the pool has recorded that; everything else was allowed and failed.
    if (verdict === undefined) this.#core.allowed.note(this.#scope, target, undefined);
    else this.#notes.refusal = verdict;
    this.#forward?.drop();
    this.#body.drop();
    this.#notes.status = 502;
    this.#exchange.answer(
      verdict === undefined ? failureOf(502, failureText(target, why)) : problemOf(502, verdict),
    );
  }

  broken(): void {
    this.#bodyBroke = true;
    this.#body.drop();
    this.#forward?.abort();
  }

  switched(): void {
    this.#notes.status = 101;
    clearTimeout(this.#timer);
  }

  cut(verdict: Verdict): void {
    this.#notes.refusal = verdict;
    if (this.#located !== undefined)
      recordDeny(this.#core, placeOf(this.#scope.entry, this.#located.target), verdict);
  }

  ended(result: TunnelResult): void {
    Object.assign(this.#notes, { up: result.upBytes, down: result.downBytes });
    this.#closed(true);
  }

  #closed(complete: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#forget?.();
    clearTimeout(this.#timer);
    this.#body.drop();
    this.#forward?.end(complete);
    const target = this.#located?.target;
    if (this.#entered && target !== undefined) this.#core.budgets.leave(target.rule);
    const { onRequest } = this.#core;
    if (onRequest === undefined) return;
    if (this.#bodyBroke && complete && this.#forward?.begun !== true) {
      this.#notes.status = 400;
      this.#notes.refusal = malformed('its body is cut or malformed');
    }
    onRequest(recordOf(this.#scope, this.#exchange.request, this.#notes));
  }
}

function failureText({ host, port }: Allowed, why: string | undefined): string {
  // What the dialler says names the host itself.
  if (why?.startsWith(`${host} `) === true) return why;
  const what = `${host} port ${port} did not answer properly`;
  return why === undefined ? what : `${what}: ${why}`;
}
