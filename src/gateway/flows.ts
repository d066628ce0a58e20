import type { Socket } from 'node:net';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Verdict } from './contract.ts';
import type { Entry } from './core.ts';
import type { Allowed, Judge } from './decide.ts';

interface Flow {
  readonly entry: Entry;
  readonly target: Allowed;
  readonly close: (verdict: Verdict) => void;
}

/** A flow that was closed, and why. */
export interface Cut {
  readonly entry: Entry;
  readonly target: Allowed;
  readonly verdict: Verdict;
}

/** Everything under way to an allowed destination, so that a new policy reaches what an old one let through. */
export class Flows {
  readonly #flows = new Set<Flow>();

  /** Answers how to take it out again; calling that twice is fine. */
  add(entry: Entry, target: Allowed, close: (verdict: Verdict) => void): () => void {
    const flow = { entry, target, close };
    this.#flows.add(flow);
    return () => void this.#flows.delete(flow);
  }

  get size(): number {
    return this.#flows.size;
  }

  /**
   * Closes what the policy in force refuses, or allows by a rule that says something else. `distrusts`: an authority lost its trust,
   * so whatever was verified by the gateway has to be verified again.
   */
  rejudge(judge: Judge, distrusts = false): Cut[] {
    const cuts: Cut[] = [];
    for (const flow of [...this.#flows]) {
      const { entry, target } = flow;
      const verdict = problemOf(judge, target, distrusts);
      if (verdict === undefined) continue;
      this.#flows.delete(flow);
      cuts.push({ entry, target, verdict });
      flow.close(verdict);
    }
    return cuts;
  }
}

/** Calls back when a socket is closed, also when it is already. */
export function onceClosed(socket: Socket, listener: () => void): void {
  if (socket.closed) listener();
  else socket.once('close', listener);
}

/** The same grant in other words, or at another place in the file, is the same grant. */
function problemOf(judge: Judge, target: Allowed, distrusts: boolean): Verdict | undefined {
  const now = judge.decide(target.host, target.port);
  if (now.action === 'deny') return now.verdict;
  const isVerified = target.rule.protocol === 'https' && target.rule.requests !== undefined;
  if (sameGrant(now, target) && !(distrusts && isVerified)) return undefined;
  return {
    action: 'deny',
    rule: 'structural.policy-change',
    reason: `the policy changed, and what it says of ${target.host} port ${target.port} is not what this was allowed by`,
    remedy: 'connect again: the policy in force decides',
  };
}

function sameGrant(a: Allowed, b: Allowed): boolean {
  if (a.rule === b.rule) return true;
  const grant = ({ rule }: Allowed): string =>
    canonicalJson({ ...rule, id: '', origin: {}, ports: [...rule.ports].sort((x, y) => x - y) });
  return grant(a) === grant(b);
}
