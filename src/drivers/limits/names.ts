import type { ProcessIdentity } from '../../base/process-identity.ts';

/** Directory that holds the groups of all sandboxes, below each parent. */
export const FAMILY = 'glovebox';

/** A group's name: sandbox, and who holds it. A file system of control groups takes no other notes. */
export function groupName(id: string, owner: ProcessIdentity): string {
  if (!/^[\w-]{1,64}$/.test(id)) throw new RangeError(`${JSON.stringify(id)} is no sandbox id`);
  return `${id}.${owner.pid}.${owner.startTicks}`;
}

/** The owner that a name carries, or undefined for a name that is not ours. */
export function groupOwner(name: string): ProcessIdentity | undefined {
  const match = /^[\w-]{1,64}\.(\d{1,10})\.(\d{1,20})$/.exec(name);
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { pid: Number(match[1]), startTicks: match[2] };
}
