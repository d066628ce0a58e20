import { detectCgroups, planLimits, readHardLimits } from '../../drivers/limits/index.ts';
import type { Finding } from './checks.ts';

/** How strongly each limit holds on this machine. */
export function checkLimits(): readonly Finding[] {
  const facts = detectCgroups();
  const limits = { require: [], explicit: [] };
  const { strength } = planLimits({ limits, facts, euid: process.geteuid?.() ?? 0, hard: readHardLimits() });
  const weak = Object.entries(strength).filter(([, held]) => held !== 'full');
  if (weak.length === 0) return [{ name: 'limits', state: 'ok', detail: `all in full (${facts.detail})` }];
  const list = weak
    .map(([name, held]) => `${name}: ${held === 'weak' ? 'per process only' : 'not held'}`)
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
