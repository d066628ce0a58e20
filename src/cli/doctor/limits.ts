import { canReadJails, detectCgroups, strengths } from '../../drivers/limits/index.ts';
import type { Finding } from './checks.ts';

/** How strongly each limit holds on this machine. */
export function checkLimits(): readonly Finding[] {
  const facts = detectCgroups();
  const watchable = canReadJails();
  const strength = strengths({ facts, watchable, euid: process.geteuid?.() ?? 0 });
  const weak = Object.entries(strength).filter(([, held]) => held !== 'full');
  if (weak.length === 0) return [{ name: 'limits', state: 'ok', detail: `all in full (${facts.detail})` }];
  const list = weak
    .map(([name, held]) => `${name}: ${held === 'none' ? 'not held' : weakly(name, watchable)}`)
    .join(', ');
  return [
    {
      name: 'limits',
      state: 'warn',
      detail: `${list} (${facts.detail})`,
      ...(facts.fix === undefined ? {} : { fix: facts.fix }),
    },
  ];
}

function weakly(name: string, watchable: boolean): string {
  if (name === 'pids') return 'for the user, not the sandbox';
  return watchable ? 'held by watching' : 'per process only';
}
