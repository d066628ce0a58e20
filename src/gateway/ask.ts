import type { AskPolicy } from '../policy/contract.ts';
import type { AskAnswer, AskQuestion, GatewayOptions } from './contract.ts';
import type { Decision, Judge } from './decide.ts';
import { ruleFromAnswer } from './decide.ts';

/** How a question ended, for the record. */
export interface AskOutcome extends AskQuestion {
  readonly answer: AskAnswer | 'timeout' | 'full';
  readonly durationMs: number;
}

type Ask = NonNullable<GatewayOptions['onAsk']>;

/**
 * Holds connections to hosts that no rule knows until somebody answers. Only "no rule allows it" is ever asked about: deny rules
 * and structural denials are not a person's to lift. Nobody answers in time, or too many wait already: the denial stands.
 */
export class AskDesk {
  readonly #judge: Judge;
  readonly #policy: AskPolicy;
  readonly #ask: Ask;
  readonly #onOutcome: (outcome: AskOutcome) => void;
  readonly #open = new Map<string, Promise<AskAnswer>>();
  readonly #closing = new AbortController();

  constructor(parts: {
    readonly judge: Judge;
    readonly policy: AskPolicy;
    readonly ask: Ask;
    readonly onOutcome: (outcome: AskOutcome) => void;
  }) {
    this.#judge = parts.judge;
    this.#policy = parts.policy;
    this.#ask = parts.ask;
    this.#onOutcome = parts.onOutcome;
  }

  /** The decision, or what an answer made of it. Everybody who waits for one host and port shares one question. */
  async settle(decision: Decision, entry: AskQuestion['entry']): Promise<Decision> {
    if (!isOpenQuestion(decision)) return decision;
    const question: AskQuestion = { host: decision.host, port: decision.port, entry };
    const generation = this.#judge.generation;
    const answer = await this.#answer(question);
    if (answer === 'deny') return decision;
    // The policy may have changed meanwhile, and it is the policy that says what may be asked.
    if (generation !== this.#judge.generation) return this.#judge.decide(question.host, question.port);
    const rule = ruleFromAnswer(question.host, question.port, answer);
    if (answer === 'once') return this.#judge.decide(question.host, question.port, rule);
    const known = this.#judge.decide(question.host, question.port);
    if (known.action === 'deny') this.#judge.grant(rule);
    return this.#judge.decide(question.host, question.port);
  }

  close(): void {
    this.#closing.abort();
  }

  #answer(question: AskQuestion): Promise<AskAnswer> {
    const key = `${question.host} ${question.port}`;
    const open = this.#open.get(key);
    if (open !== undefined) return open;
    if (this.#open.size >= this.#policy.pending) {
      this.#onOutcome({ ...question, answer: 'full', durationMs: 0 });
      return Promise.resolve('deny');
    }
    const answer = this.#put(question).finally(() => this.#open.delete(key));
    this.#open.set(key, answer);
    return answer;
  }

  async #put(question: AskQuestion): Promise<AskAnswer> {
    const startedAt = Date.now();
    const limit = new AbortController();
    const stop = (): void => limit.abort();
    const timer = setTimeout(stop, this.#policy.timeoutMs);
    this.#closing.signal.addEventListener('abort', stop, { once: true });
    if (this.#closing.signal.aborted) stop();
    try {
      const answer = await Promise.race([this.#asked(question, limit.signal), aborted(limit.signal)]);
      this.#onOutcome({ ...question, answer, durationMs: Date.now() - startedAt });
      return answer === 'timeout' ? 'deny' : answer;
    } finally {
      clearTimeout(timer);
      this.#closing.signal.removeEventListener('abort', stop);
      stop();
    }
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
export function isOpenQuestion(decision: Decision): boolean {
  return decision.action === 'deny' && decision.verdict.rule === 'default.deny';
}

function aborted(signal: AbortSignal): Promise<'timeout'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('timeout');
    else signal.addEventListener('abort', () => resolve('timeout'), { once: true });
  });
}
