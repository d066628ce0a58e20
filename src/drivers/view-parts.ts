import type { Plan } from './contract.ts';

/** Cuts a plan's view: the base system comes first in each, and /proc, with everything that is the sandbox's own, after it. Pure. */
export function partsOfView(view: Plan['view']): { readonly base: Plan['view']; readonly own: Plan['view'] } {
  const end = view.findIndex((mount) => mount.kind === 'proc');
  return { base: view.slice(0, end), own: view.slice(end) };
}
