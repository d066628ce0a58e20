import type { Finding } from './checks.ts';

export function checkLimits(): readonly Finding[] {
  return [];
}
