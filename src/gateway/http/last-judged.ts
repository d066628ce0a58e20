import type { Admitted } from './admission.ts';
import type { ExchangeRequest } from './contract.ts';
import type { Located, Refusal } from './judge.ts';

/** The answer to the last question, for when it is the same object again. */
class Last<K extends object, V> {
  #key: K | undefined;
  #answer: V | undefined;

  of(key: K, make: () => V): V {
    if (this.#key === key && this.#answer !== undefined) return this.#answer;
    const answer = make();
    this.#key = key;
    this.#answer = answer;
    return answer;
  }
}

/**
 * What was judged of the last head on a connection to one destination. Only what follows from that head and from the grant of the
 * connection is in here, and a connection never outlives its grant (`Flows.rejudge`). Budgets, names, credentials, data and bodies are
 * looked at for each request.
 */
export class LastJudged {
  readonly structure = new Last<ExchangeRequest, Located | Refusal>();
  readonly rules = new Last<Located, Admitted>();
}
