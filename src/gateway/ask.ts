import type { AskPolicy } from '../policy/contract.ts';
import type { AskAnswer, AskOutcome, AskQuestion, GatewayOptions } from './contract.ts';
import type { Decision, Denied, Judge } from './decide.ts';
import { ruleFromAnswer } from './decide.ts';

type Ask = NonNullable<GatewayOptions['onAsk']>;

/** `settled`: another policy has answered it, so nobody has to. */
type Result = AskOutcome['answer'] | 'settled';

interface Open {
  readonly question: AskQuestion;
  readonly result: Promise<Result>;
  readonly end: (result: Result) => void;
}

/**
 * Holds connections to hosts that no rule knows until somebody answers. Only "no rule allows it" is ever asked about: deny rules
 * and structural denials are not a person's to lift. Nobody answers in time, or too many wait already: the denial stands.
 */
export class AskDesk {
  readonly #judge: Judge;
  readonly #ask: Ask;
  readonly #onOutcome: (outcome: AskOutcome) => void;
  readonly #open = new Map<string, Open>();
  #policy: AskPolicy | undefined;

  constructor(parts: {
    readonly judge: Judge;
    /** Undefined: nothing is asked until a policy says so. */
    readonly policy: AskPolicy | undefined;
    readonly ask: Ask;
    readonly onOutcome: (outcome: AskOutcome) => void;
  }) {
    this.#judge = parts.judge;
    this.#policy = parts.policy;
    this.#ask = parts.ask;
    this.#onOutcome = parts.onOutcome;
  }

  /** True for the one denial that an answer may lift, while the policy wants it asked about. */
  asksAbout(decision: Decision): decision is Denied {
    return this.#policy !== undefined && isOpenQuestion(decision);
  }

  /**
   * What an answer makes of a denial. Everybody who waits for one host and port shares one question; it stays open when they leave,
   * so that an answer for the sandbox also serves those who try again.
   */
  async settle(decision: Denied, entry: AskQuestion['entry']): Promise<Decision> {
    const { host, port } = decision;
    const result = await this.#answer({ host, port, entry });
    // The policy may have changed meanwhile, and what it says about the host comes first.
    const now = this.#judge.decide(host, port);
    if (now.action === 'allow' || !isOpenQuestion(now)) return now;
    if (result !== 'once' && result !== 'sandbox') return this.#refused(now, result);
    const rule = ruleFromAnswer(host, port, result);
    if (result === 'sandbox') this.#judge.grant(rule);
    return this.#judge.decide(host, port, rule);
  }

  /** Another policy is in force: what it answers is settled, and without `ask` in it everything else is denied. */
  replace(policy: AskPolicy | undefined): void {
    this.#policy = policy;
    for (const { question, end } of [...this.#open.values()]) {
      if (!isOpenQuestion(this.#judge.decide(question.host, question.port))) end('settled');
      else if (policy === undefined) end('deny');
    }
  }

  /** Denies everything that waits, and whatever still comes. */
  close(): void {
    this.replace(undefined);
  }

  #refused(denied: Denied, result: Result): Denied {
    const seconds = (this.#policy?.timeoutMs ?? 0) / 1000;
    const why: Readonly<Partial<Record<Result, string>>> = {
      deny: 'somebody was asked and did not allow it',
      timeout: `somebody was asked and did not answer within ${seconds} s`,
      full: `${this.#policy?.pending ?? 0} other questions wait for an answer already`,
    };
    const { verdict } = denied;
    const reason = `${verdict.reason}; ${why[result] ?? 'nobody is asked any more'}`;
    return { ...denied, verdict: { ...verdict, reason } };
  }

  #answer(question: AskQuestion): Promise<Result> {
    const open = this.#open.get(keyOf(question));
    if (open !== undefined) return open.result;
    const policy = this.#policy;
    if (policy === undefined) return Promise.resolve('deny');
    if (this.#open.size < policy.pending) return this.#put(question, policy);
    this.#onOutcome({ ...question, answer: 'full', durationMs: 0 });
    return Promise.resolve('full');
  }

  #put(question: AskQuestion, policy: AskPolicy): Promise<Result> {
    const startedAt = Date.now();
    const over = new AbortController();
    let resolve: (result: Result) => void = () => undefined;
    const result = new Promise<Result>((settle) => (resolve = settle));
    const end = (answer: Result): void => {
      if (over.signal.aborted) return;
      clearTimeout(timer);
      this.#open.delete(keyOf(question));
      // Whoever still shows the question takes it down.
      over.abort();
      resolve(answer);
      if (answer !== 'settled') this.#onOutcome({ ...question, answer, durationMs: Date.now() - startedAt });
    };
    const timer = setTimeout(() => end('timeout'), policy.timeoutMs);
    this.#open.set(keyOf(question), { question, result, end });
    void this.#asked(question, over.signal).then(end);
    return result;
  }

  /** The callback is the caller's: whatever it does but say one of the three words is a denial. */
  async #asked(question: AskQuestion, signal: AbortSignal): Promise<AskAnswer> {
    try {
      const answer = await this.#ask(question, signal);
      return answer === 'once' || answer === 'sandbox' ? answer : 'deny';
    } catch {
      return 'deny';
    }
  }
}

/** True for the one denial that an answer may lift. */
function isOpenQuestion(decision: Decision): decision is Denied {
  return decision.action === 'deny' && decision.verdict.rule === 'default.deny';
}

function keyOf({ host, port }: AskQuestion): string {
  return `${host} ${port}`;
}
