import type { NetworkPolicy, NetworkRule } from '../policy/contract.ts';
import type { Verdict } from './contract.ts';
import { sourceOf } from './decide.ts';
import { MinuteCount } from './minute.ts';

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

/** Requests and opaque connections at once, and in the last minute. */
interface Flow {
  open: number;
  readonly minute: MinuteCount;
}

interface FlowLimits {
  readonly requestsPerMinute?: number | undefined;
  readonly concurrency?: number | undefined;
}

/** What was used under one rule. */
interface Account {
  readonly used: Counters;
  readonly flow: Flow;
}

export interface BudgetOptions {
  readonly now?: () => number;
  /** Called once for each policy, when a budget of the whole is used up. */
  readonly onUsedUp?: (verdict: Verdict) => void;
}

/** What the sandbox has used of its budgets: of the whole, and rule by rule. Counts last as long as the sandbox. */
export class Budgets {
  readonly #now: () => number;
  readonly #onUsedUp: ((verdict: Verdict) => void) | undefined;
  readonly #whole = newAccount();
  readonly #byRule = new WeakMap<NetworkRule, Account>();
  #byId = new Map<string, Account>();
  #policy: NetworkPolicy;
  /** Rules of earlier policies: one that comes back finds what it had used. */
  #dropped: readonly { readonly rule: NetworkRule; readonly account: Account }[] = [];
  #toldUsedUp = false;

  constructor(policy: NetworkPolicy, { now = Date.now, onUsedUp }: BudgetOptions = {}) {
    this.#policy = policy;
    this.#now = now;
    this.#onUsedUp = onUsedUp;
  }

  /** New limits, old counts. A rule goes on counting where the one for the same host and port was, wherever it stands now. */
  replace(policy: NetworkPolicy): void {
    const former = [
      ...this.#policy.allow.map((rule) => ({ rule, account: this.#accountOf(rule) })),
      ...this.#dropped,
    ];
    this.#policy = policy;
    this.#toldUsedUp = false;
    this.#byId = new Map();
    for (const rule of policy.allow) {
      const same = former.filter((old) => old.rule.host === rule.host);
      const old =
        same.find((each) => each.rule.id === rule.id) ??
        same.find((each) => each.rule.ports.some((port) => rule.ports.includes(port)));
      const account = old?.account ?? newAccount();
      this.#byRule.set(rule, account);
      this.#byId.set(rule.id, account);
    }
    const kept = new Set(this.#byId.values());
    this.#dropped = former.filter(({ account }) => !kept.has(account));
  }

  /** Uses up `amount`, or says which budget it would pass; then nothing is used up. */
  take(rule: NetworkRule, kind: Kind, amount = 1): Verdict | undefined {
    const verdict = this.check(rule, kind, amount);
    if (verdict !== undefined) return verdict;
    this.#whole.used[kind] += amount;
    this.#accountOf(rule).used[kind] += amount;
    return undefined;
  }

  /** As `take` without using anything up. */
  check(rule: NetworkRule, kind: Kind, amount: number): Verdict | undefined {
    const ruleLimit = rule.budget?.[kind];
    if (ruleLimit !== undefined && this.#accountOf(rule).used[kind] + amount > ruleLimit) {
      return over(kind, ruleLimit, rule.id, sourceOf(rule.origin));
    }
    const total = this.#policy.budget[kind];
    if (total === undefined || this.#whole.used[kind] + amount <= total) return undefined;
    return this.#usedUp(over(kind, total, 'network'));
  }

  /** One more request or opaque connection at once and in the last minute, or why not. `leave` ends it. */
  enter(rule: NetworkRule): Verdict | undefined {
    const { flow } = this.#accountOf(rule);
    const verdict = this.#flowProblem(rule, flow);
    if (verdict !== undefined) return verdict;
    const now = this.#now();
    for (const each of [flow, this.#whole.flow]) {
      each.open++;
      each.minute.add(now);
    }
    return undefined;
  }

  /** A refused request: it counts in the minute, so that probing has a rate too. */
  countRefused(rule: NetworkRule | undefined): void {
    const now = this.#now();
    if (rule !== undefined) this.#accountOf(rule).flow.minute.add(now);
    this.#whole.flow.minute.add(now);
  }

  /** What `enter` began is over. */
  leave(rule: NetworkRule): void {
    this.#accountOf(rule).flow.open--;
    this.#whole.flow.open--;
  }

  #usedUp(verdict: Verdict): Verdict {
    if (this.#toldUsedUp) return verdict;
    this.#toldUsedUp = true;
    this.#onUsedUp?.(verdict);
    return verdict;
  }

  #flowProblem(rule: NetworkRule, flow: Flow): Verdict | undefined {
    const source = sourceOf(rule.origin);
    const limits = rule.requests?.limits;
    return (
      (limits === undefined ? undefined : this.#overFlow(flow, limits, `${rule.id}.limits`, source)) ??
      (rule.budget === undefined
        ? undefined
        : this.#overFlow(flow, rule.budget, `${rule.id}.budget`, source)) ??
      this.#overFlow(this.#whole.flow, this.#policy.budget, 'network.budget')
    );
  }

  #overFlow(flow: Flow, limits: FlowLimits, owner: string, source?: string): Verdict | undefined {
    const { concurrency, requestsPerMinute } = limits;
    if (concurrency !== undefined && flow.open >= concurrency)
      return overFlow(`${owner}.concurrency`, `over ${concurrency} requests at once`, source);
    if (requestsPerMinute === undefined) return undefined;
    if (flow.minute.count(this.#now()) < requestsPerMinute) return undefined;
    return overFlow(`${owner}.requestsPerMinute`, `over ${requestsPerMinute} requests in a minute`, source);
  }

  /** By the rule itself, since ids move when a policy is edited; by its id where a caller has made a rule anew. */
  #accountOf(rule: NetworkRule): Account {
    const known = this.#byRule.get(rule) ?? this.#byId.get(rule.id);
    const account = known ?? newAccount();
    if (known === undefined) this.#byId.set(rule.id, account);
    this.#byRule.set(rule, account);
    return account;
  }
}

function newAccount(): Account {
  return { used: noCounts(), flow: { open: 0, minute: new MinuteCount() } };
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
