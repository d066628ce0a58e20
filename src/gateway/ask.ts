import type { AskPolicy } from '../policy/contract.ts';
import type { AskAnswer, AskOutcome, AskQuestion, AskReply, GatewayOptions } from './contract.ts';
import type { Decision, Denied, Judge } from './decide.ts';
import { printable, ruleFromAnswer } from './decide.ts';
import { MinuteCount } from './minute.ts';

type Ask = NonNullable<GatewayOptions['onAsk']>;

/** A denial stands this long: who says no once is not worn down by being asked again. */
const DENIED_MS = 60_000;

/** `settled`: another policy has answered it, so nobody has to. */
type Ending = AskOutcome['answer'] | 'settled';
/** `often`, `again`: nobody is asked. */
type Result = Ending | 'often' | 'again';

interface Open {
  readonly question: AskQuestion;
  readonly result: Promise<Result>;
  readonly end: (ending: Ending) => void;
}

/**
 * Holds connections to hosts that no rule knows until somebody answers. Only "no rule allows it" is ever asked about: deny rules
 * and structural denials are not a person's to lift. Nobody answers in time, too many wait already or were asked within a minute, or
 * somebody has just said no: the denial stands.
 */
export class AskDesk {
  readonly #judge: Judge;
  readonly #ask: Ask;
  readonly #onOutcome: (outcome: AskOutcome) => void;
  readonly #perMinute: number;
  readonly #now: () => number;
  readonly #open = new Map<string, Open>();
  /** When somebody said no, by host and port; as many as were asked about in a minute. */
  readonly #denied = new Map<string, number>();
  readonly #asked = new MinuteCount();
  #policy: AskPolicy | undefined;

  constructor(parts: {
    readonly judge: Judge;
    /** Undefined: nothing is asked until a policy says so. */
    readonly policy: AskPolicy | undefined;
    readonly ask: Ask;
    readonly onOutcome: (outcome: AskOutcome) => void;
    /** Questions within any 60 seconds. */
    readonly perMinute: number;
    /** Milliseconds; only differences count. */
    readonly now?: () => number;
  }) {
    this.#judge = parts.judge;
    this.#policy = parts.policy;
    this.#ask = parts.ask;
    this.#onOutcome = parts.onOutcome;
    this.#perMinute = parts.perMinute;
    this.#now = parts.now ?? (() => performance.now());
  }

  /** True for the one denial that an answer may lift, while the policy wants it asked about. */
  asksAbout(decision: Decision): decision is Denied {
    if (this.#policy === undefined || !isOpenQuestion(decision)) return false;
    // A private address is refused with an answer's rule too: nobody is bothered for nothing.
    const { host, port } = decision;
    return this.#judge.decide(host, port, ruleFromAnswer(host, port, 'once')).action === 'allow';
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
    this.#denied.clear();
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
      often: `${this.#perMinute} questions were asked within a minute already`,
      again: 'somebody was asked less than a minute ago and did not allow it',
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
    if (this.#isDenied(question)) return Promise.resolve('again');
    const full = this.#open.size >= policy.pending;
    if (!full && this.#asked.count(this.#now()) < this.#perMinute) return this.#put(question, policy);
    this.#onOutcome({ ...question, answer: 'full', durationMs: 0 });
    return Promise.resolve(full ? 'full' : 'often');
  }

  #isDenied(question: AskQuestion): boolean {
    const now = this.#now();
    for (const [key, at] of this.#denied) {
      // They stand in the order in which they were said.
      if (now - at < DENIED_MS) break;
      this.#denied.delete(key);
    }
    return this.#denied.has(keyOf(question));
  }

  #put(question: AskQuestion, policy: AskPolicy): Promise<Result> {
    const startedAt = Date.now();
    const over = new AbortController();
    let resolve: (result: Result) => void = () => undefined;
    const result = new Promise<Result>((settle) => (resolve = settle));
    const end = (answer: Ending, by?: string): void => {
      if (over.signal.aborted) return;
      clearTimeout(timer);
      this.#open.delete(keyOf(question));
      if (answer === 'deny') this.#denied.set(keyOf(question), this.#now());
      // Whoever still shows the question takes it down.
      over.abort();
      resolve(answer);
      if (answer === 'settled') return;
      const who = by === undefined ? {} : { by };
      this.#onOutcome({ ...question, answer, ...who, durationMs: Date.now() - startedAt });
    };
    const timer = setTimeout(() => end('timeout'), policy.timeoutMs);
    this.#open.set(keyOf(question), { question, result, end });
    this.#asked.add(this.#now());
    void this.#reply(question, over.signal).then(({ answer, by }) => end(answer, by));
    return result;
  }

  /** The callback is the caller's: whatever it does but say one of the three words is a denial. */
  async #reply(
    question: AskQuestion,
    signal: AbortSignal,
  ): Promise<Partial<AskReply> & Pick<AskReply, 'answer'>> {
    try {
      const said: unknown = await this.#ask(question, signal);
      const reply = typeof said === 'object' && said !== null ? said : { answer: said };
      const by = 'by' in reply && typeof reply.by === 'string' ? printable(reply.by) : 'callback';
      return { answer: 'answer' in reply ? word(reply.answer) : 'deny', by };
    } catch {
      return { answer: 'deny' };
    }
  }
}

function word(answer: unknown): AskAnswer {
  return answer === 'once' || answer === 'sandbox' ? answer : 'deny';
}

/** True for the one denial that an answer may lift. */
function isOpenQuestion(decision: Decision): decision is Denied {
  return decision.action === 'deny' && decision.verdict.rule === 'default.deny';
}

function keyOf({ host, port }: AskQuestion): string {
  return `${host} ${port}`;
}
