import { canonicalJson } from '../base/canonical-json.ts';
import type { Allowed, Judge } from './decide.ts';

interface Flow {
  readonly target: Allowed;
  readonly close: () => void;
}

/** Everything under way to an allowed destination, so that a new policy reaches what an old one let through. */
export class Flows {
  readonly #flows = new Set<Flow>();

  /** Answers how to take it out again; calling that twice is fine. */
  add(target: Allowed, close: () => void): () => void {
    const flow = { target, close };
    this.#flows.add(flow);
    return () => void this.#flows.delete(flow);
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Closes what the policy in force refuses, or allows by a rule that says something else; answers how many. */
  rejudge(judge: Judge): number {
    let closed = 0;
    for (const flow of [...this.#flows]) {
      if (stillHolds(judge, flow.target)) continue;
      this.#flows.delete(flow);
      closed++;
      flow.close();
    }
    return closed;
  }
}

/** The same grant in other words, or at another place in the file, is the same grant. */
function stillHolds(judge: Judge, target: Allowed): boolean {
  const now = judge.decide(target.host, target.port);
  return now.action === 'allow' && sameGrant(now, target);
}

function sameGrant(a: Allowed, b: Allowed): boolean {
  const grant = ({ rule }: Allowed): string =>
    canonicalJson({ ...rule, id: '', origin: {}, ports: [...rule.ports].sort((x, y) => x - y) });
  return grant(a) === grant(b);
}
