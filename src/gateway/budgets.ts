import type { NetworkBudget, NetworkPolicy, NetworkRule } from '../policy/contract.ts';
import type { Verdict } from './contract.ts';
import { sourceOf } from './decide.ts';

type Kind = keyof NetworkBudget;

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

/** What the sandbox has used of its budgets: of the whole, and rule by rule. Counts last as long as the sandbox. */
export class Budgets {
  readonly #total: NetworkBudget;
  readonly #used = noCounts();
  readonly #perRule = new Map<string, Counters>();

  constructor(policy: NetworkPolicy) {
    this.#total = policy.budget;
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

  #countersOf(rule: NetworkRule): Counters {
    const known = this.#perRule.get(rule.id);
    if (known !== undefined) return known;
    const counters = noCounts();
    this.#perRule.set(rule.id, counters);
    return counters;
  }
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
