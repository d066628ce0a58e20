import { existsSync } from 'node:fs';
import { isAlive, type ProcessIdentity } from '../base/process-identity.ts';

/** One thing that a sandbox had on this machine. */
export interface ReceiptItem {
  readonly kind: 'process' | 'cgroup' | 'socket' | 'directory' | 'entry' | 'container';
  /** A path, or the number of a process. */
  readonly name: string;
  readonly gone: boolean;
}

/** What a sandbox had outside of itself, looked for again after its end, from outside. */
export interface TeardownReceipt {
  /** Milliseconds since the epoch. */
  readonly checkedAt: number;
  /** True when nothing is left. */
  readonly complete: boolean;
  readonly items: readonly ReceiptItem[];
}

interface Listed {
  readonly kind: ReceiptItem['kind'];
  readonly name: string;
  readonly present: () => boolean;
}

/** Collects what a sandbox brings into being, when it does. */
export class Inventory {
  readonly #listed: Listed[] = [];

  path(kind: Exclude<ReceiptItem['kind'], 'process' | 'container'>, name: string): void {
    this.#listed.push({ kind, name, present: () => existsSync(name) });
  }

  process(identity: ProcessIdentity | undefined): void {
    if (identity === undefined) return;
    this.#listed.push({ kind: 'process', name: String(identity.pid), present: () => isAlive(identity) });
  }

  /** Something that only its driver can look for. */
  driven(items: readonly Listed[] = []): void {
    this.#listed.push(...items);
  }

  receipt(): TeardownReceipt {
    const items = this.#listed.map(({ kind, name, present }) => ({ kind, name, gone: !present() }));
    return { checkedAt: Date.now(), complete: items.every((item) => item.gone), items };
  }
}
