import { readdirSync, readFileSync } from 'node:fs';

/** A process of the machine, seen from outside all namespaces. */
export interface ProcessFact {
  readonly pid: number;
  readonly parent: number;
  readonly name: string;
}

/** Every process that comes from one, the ancestor included. */
export function descendants(ancestor: number): readonly ProcessFact[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => fact(Number(name)));
  const tree = new Map(all.filter((one) => one.pid === ancestor).map((one) => [one.pid, one]));
  for (let before = -1; before !== tree.size;) {
    before = tree.size;
    for (const one of all) if (tree.has(one.parent)) tree.set(one.pid, one);
  }
  return [...tree.values()];
}

/** proc_pid_stat(5): the name stands in parentheses and may hold any character; the parent is the second field after it. */
function fact(pid: number): readonly ProcessFact[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const close = text.lastIndexOf(')');
    const parent = Number(text.slice(close + 2).split(' ')[1]);
    return [{ pid, parent, name: text.slice(text.indexOf('(') + 1, close) }];
  } catch {
    return [];
  }
}

/**
 * Proportional set size in MiB: shared pages are divided among those who map them, so that a sum over processes is what they
 * take together. Undefined for a process that may not be looked at.
 */
export function proportionalMiB(pid: number): number | undefined {
  try {
    const line = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return line === null ? undefined : Number(line[1]) / 1024;
  } catch {
    return undefined;
  }
}
