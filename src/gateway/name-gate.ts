import { dataInName } from '../net/label-entropy.ts';
import type { NetworkRule } from '../policy/contract.ts';
import type { Budgets } from './budgets.ts';
import type { Verdict } from './contract.ts';
import { ruleFromAnswer } from './decide.ts';
import type { GatewayLimits } from './limits.ts';

type Limits = Pick<GatewayLimits, 'names' | 'wildcardNamesPerMinute'>;

const MINUTE_MS = 60_000;
/** Names that no rule knows and that get an address, so that connections to them can be asked about. */
const UNKNOWN_NAMES_MAX = 256;

/**
 * Admits new names. Under a wildcard every distinct name becomes a resolver query that the zone's owner can read, so their number
 * is bounded and names that look like data are refused. Exact names cost nothing: the policy wrote them.
 */
export class NameGate {
  readonly #limits: Limits;
  readonly #budgets: Budgets;
  readonly #now: () => number;
  readonly #known = new Set<string>();
  readonly #recent = new Map<string, number[]>();
  #unknown = 0;

  constructor(limits: Limits, budgets: Budgets, now: () => number = Date.now) {
    this.#limits = limits;
    this.#budgets = budgets;
    this.#now = now;
  }

  /** Undefined when the name may be used; it is counted the first time. */
  admit(name: string, rule: NetworkRule): Verdict | undefined {
    if (this.#known.has(name)) return undefined;
    const verdict = rule.host.startsWith('*.') ? this.#wildcardProblem(name, rule) : undefined;
    const over = verdict ?? this.#budgets.take(rule, 'names');
    if (over !== undefined) return over;
    if (rule.host.startsWith('*.')) this.#recent.get(rule.id)?.push(this.#now());
    this.#known.add(name);
    return undefined;
  }

  /** A name that no rule knows and somebody may be asked about. Nothing of it leaves before the answer; the number is bounded all the same. */
  admitUnknown(name: string): Verdict | undefined {
    if (this.#known.has(name)) return undefined;
    const data = dataInName(name);
    if (data !== undefined)
      return { action: 'deny', rule: 'structural.data-in-name', reason: `the name looks like data: ${data}` };
    if (this.#unknown >= UNKNOWN_NAMES_MAX) {
      const reason = `over ${UNKNOWN_NAMES_MAX} names that no rule knows, in the life of one sandbox`;
      return { action: 'deny', rule: 'structural.names', reason };
    }
    const over = this.#budgets.take(ruleFromAnswer(name, 443, 'once'), 'names');
    if (over !== undefined) return over;
    this.#unknown++;
    this.#known.add(name);
    return undefined;
  }

  #wildcardProblem(name: string, rule: NetworkRule): Verdict | undefined {
    const data = dataInName(name.slice(0, 1 - rule.host.length));
    const remedy = `allow the name itself instead of ${rule.host}`;
    if (data !== undefined) {
      return {
        action: 'deny',
        rule: 'structural.data-in-name',
        reason: `the name looks like data: ${data}`,
        remedy,
      };
    }
    const since = this.#now() - MINUTE_MS;
    const recent = (this.#recent.get(rule.id) ?? []).filter((at) => at > since);
    this.#recent.set(rule.id, recent);
    if (recent.length < this.#limits.wildcardNamesPerMinute && this.#known.size < this.#limits.names)
      return undefined;
    return {
      action: 'deny',
      rule: 'structural.names-per-minute',
      reason: `over ${this.#limits.wildcardNamesPerMinute} new names under ${rule.host} in a minute`,
      remedy,
    };
  }
}
