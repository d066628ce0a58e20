import type { NetworkBudget, NetworkPolicy, NetworkRule } from '../policy/contract.ts';
import type { Verdict } from './contract.ts';
import { sourceOf } from './decide.ts';

type Kind = 'requests' | 'uploadBytes' | 'downloadBytes' | 'connections' | 'names';

/** How people read each budget. */
const WORDS: Readonly<Record<Kind, string>> = {
  requests: 'requests',
  uploadBytes: 'bytes of upload',
  downloadBytes: 'bytes of download',
  connections: 'connections',
  names: 'distinct names',
};

/** Policy keys, as the reader has to write them. */
const KEYS: Readonly<Record<Kind, string>> = {
  requests: 'requests',
  uploadBytes: 'upload',
  downloadBytes: 'download',
  connections: 'connections',
  names: 'names',
};

type Counters = Record<Kind, number>;

const noCounts = (): Counters => ({
  requests: 0,
  uploadBytes: 0,
  downloadBytes: 0,
  connections: 0,
  names: 0,
});

const MINUTE_MS = 60_000;

/** Requests at once, and in the current minute. */
interface Flow {
  open: number;
  minute: number;
  inMinute: number;
}

interface FlowLimits {
  readonly requestsPerMinute?: number | undefined;
  readonly concurrency?: number | undefined;
}

/** What the sandbox has used of its budgets: of the whole, and rule by rule. Counts last as long as the sandbox. */
export class Budgets {
  readonly #total: NetworkBudget;
  readonly #now: () => number;
  readonly #used = noCounts();
  readonly #perRule = new Map<string, Counters>();
  readonly #flow: Flow = { open: 0, minute: 0, inMinute: 0 };
  readonly #flowPerRule = new Map<string, Flow>();

  constructor(policy: NetworkPolicy, now: () => number = Date.now) {
    this.#total = policy.budget;
    this.#now = now;
  }

  /** Uses up `amount`, or says which budget it would pass; then nothing is used up. */
  take(rule: NetworkRule, kind: Kind, amount = 1): Verdict | undefined {
    const verdict = this.check(rule, kind, amount);
    if (verdict !== undefined) return verdict;
    this.#used[kind] += amount;
    if (rule.budget !== undefined) this.#countersOf(rule)[kind] += amount;
    return undefined;
  }

  /** As `take` without using anything up. */
  check(rule: NetworkRule, kind: Kind, amount: number): Verdict | undefined {
    const ruleLimit = rule.budget?.[kind];
    if (ruleLimit !== undefined && this.#countersOf(rule)[kind] + amount > ruleLimit) {
      return over(kind, ruleLimit, rule.id, sourceOf(rule.origin));
    }
    const total = this.#total[kind];
    if (total !== undefined && this.#used[kind] + amount > total) return over(kind, total, 'network');
    return undefined;
  }

  /** One more request or opaque connection at once and in this minute, or why not. `leave` ends it. */
  enter(rule: NetworkRule): Verdict | undefined {
    const flow = this.#flowOf(rule);
    const verdict = this.#flowProblem(rule, flow);
    if (verdict !== undefined) return verdict;
    for (const each of [flow, this.#flow]) {
      each.open++;
      each.inMinute++;
    }
    return undefined;
  }

  /** What `enter` began is over. */
  leave(rule: NetworkRule): void {
    this.#flowOf(rule).open--;
    this.#flow.open--;
  }

  #flowProblem(rule: NetworkRule, flow: Flow): Verdict | undefined {
    const source = sourceOf(rule.origin);
    const limits = rule.requests?.limits;
    return (
      (limits === undefined ? undefined : this.#overFlow(flow, limits, `${rule.id}.limits`, source)) ??
      (rule.budget === undefined
        ? undefined
        : this.#overFlow(flow, rule.budget, `${rule.id}.budget`, source)) ??
      this.#overFlow(this.#flow, this.#total, 'network.budget')
    );
  }

  /** A fixed window: at most twice the number in any 60 seconds, for one counter instead of a list. */
  #overFlow(flow: Flow, limits: FlowLimits, owner: string, source?: string): Verdict | undefined {
    const { concurrency, requestsPerMinute } = limits;
    if (concurrency !== undefined && flow.open >= concurrency)
      return overFlow(`${owner}.concurrency`, `over ${concurrency} requests at once`, source);
    if (requestsPerMinute === undefined) return undefined;
    const minute = Math.floor(this.#now() / MINUTE_MS);
    if (flow.minute !== minute) Object.assign(flow, { minute, inMinute: 0 });
    if (flow.inMinute < requestsPerMinute) return undefined;
    return overFlow(`${owner}.requestsPerMinute`, `over ${requestsPerMinute} requests in a minute`, source);
  }

  #flowOf(rule: NetworkRule): Flow {
    const known = this.#flowPerRule.get(rule.id);
    if (known !== undefined) return known;
    const flow: Flow = { open: 0, minute: 0, inMinute: 0 };
    this.#flowPerRule.set(rule.id, flow);
    return flow;
  }

  #countersOf(rule: NetworkRule): Counters {
    const known = this.#perRule.get(rule.id);
    if (known !== undefined) return known;
    const counters = noCounts();
    this.#perRule.set(rule.id, counters);
    return counters;
  }
}

function overFlow(key: string, reason: string, source: string | undefined): Verdict {
  return {
    action: 'deny',
    rule: key,
    reason,
    ...(source === undefined ? {} : { source }),
    remedy: `raise ${key} in the policy`,
  };
}

function over(kind: Kind, limit: number, owner: string, source?: string): Verdict {
  return {
    action: 'deny',
    rule: `${owner}.budget.${KEYS[kind]}`,
    reason: `the budget of ${limit} ${WORDS[kind]} is used up`,
    ...(source === undefined ? {} : { source }),
    remedy: `raise ${owner}.budget.${KEYS[kind]} in the policy`,
  };
}
