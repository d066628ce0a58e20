import type { Verdict } from './contract.ts';

type Cut = (verdict: Verdict) => void;

/** Requests under way that carry a secret which was put in, so that a revocation reaches them: streams and WebSockets last for hours. */
export class Bearers {
  readonly #open = new Map<string, Set<Cut>>();

  /** `credential`: name of what was put in, or several joined by a comma. Answers how to take it out again. */
  add(credential: string, cut: Cut): () => void {
    const names = credential.split(', ');
    for (const name of names) {
      const open = this.#open.get(name);
      if (open === undefined) this.#open.set(name, new Set([cut]));
      else open.add(cut);
    }
    return () => {
      for (const name of names) this.#remove(name, cut);
    };
  }

  /** Cuts what carries the credential; answers how many. */
  revoke(credential: string): number {
    const cuts = [...(this.#open.get(credential) ?? [])];
    this.#open.delete(credential);
    for (const cut of cuts) cut(revokedVerdict(credential));
    return cuts.length;
  }

  #remove(name: string, cut: Cut): void {
    const open = this.#open.get(name);
    open?.delete(cut);
    if (open?.size === 0) this.#open.delete(name);
  }
}

function revokedVerdict(credential: string): Verdict {
  return {
    action: 'deny',
    rule: 'structural.credential.revoked',
    reason: `${credential} was revoked, and this request carries it`,
  };
}
