import path from 'node:path';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { isWithin } from '../base/path-bytes.ts';
import type { Mask, Plan } from './contract.ts';
import type { Guard } from './survey.ts';

/**
 * Turns guards into mount operations, parents before children. Every directory between a visible tree's root and a
 * guarded path becomes a mount point of its own, because a mount point cannot be renamed (rename(2), EBUSY): otherwise
 * `mv .git x && mkdir .git` would step around the guard.
 *
 * @throws E_POLICY_INVALID when there are more than CAPS.maskCount operations.
 */
export function planMasks(guards: readonly Guard[]): readonly Mask[] {
  const masks = new Map<string, Mask>();
  for (const guard of guards) {
    for (const parent of parentsBelow(guard.path, guard.root)) addPin(masks, parent, guard);
  }
  for (const guard of guards) masks.set(guard.path, maskOf(guard));
  const ordered = dropCovered([...masks.values()].sort(byDepth));
  if (ordered.length > CAPS.maskCount) throw tooMany(ordered.length);
  return ordered;
}

function addPin(masks: Map<string, Mask>, parent: string, guard: Guard): void {
  if (masks.has(parent)) return;
  masks.set(parent, {
    kind: 'pin',
    path: parent,
    root: guard.root,
    type: 'any',
    deny: false,
    rule: guard.rule,
  });
}

function maskOf(guard: Guard): Mask {
  // A tree that is guarded whole is looked up in its parent.
  const root = guard.path === guard.root ? path.dirname(guard.root) : guard.root;
  const base = { path: guard.path, root, deny: guard.action === 'deny', rule: guard.rule };
  if (guard.type === 'missing') {
    const dot = path.basename(guard.path) === 'commondir' && guard.action === 'protect';
    return { ...base, kind: 'placeholder', type: 'any', ...(dot ? { dotFile: true as const } : {}) };
  }
  const type = guard.type === 'file' || guard.type === 'dir' || guard.type === 'symlink' ? guard.type : 'any';
  if (guard.action === 'deny') return { ...base, kind: 'hide', type };
  // A symlink is held in place; what it leads to has a guard of its own.
  return { ...base, kind: guard.type === 'symlink' ? 'pin' : 'readonly', type };
}

function parentsBelow(target: string, root: string): readonly string[] {
  const parents: string[] = [];
  for (let dir = path.dirname(target); dir !== root && isWithin(dir, root); dir = path.dirname(dir))
    parents.push(dir);
  return parents;
}

/** Nothing below a hidden or missing directory can be reached, so its masks would have no place to stand. */
function dropCovered(masks: readonly Mask[]): readonly Mask[] {
  const closed = new Set(masks.filter((mask) => mask.kind === 'hide').map((mask) => mask.path));
  return masks.filter((mask) => !parentsBelow(mask.path, mask.root).some((parent) => closed.has(parent)));
}

const depth = (target: string): number => target.split('/').length;

function byDepth(a: Mask, b: Mask): number {
  return depth(a.path) - depth(b.path) || (a.path < b.path ? -1 : 1);
}

function tooMany(count: number): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', {
    what: `the deny and protect rules match ${count} paths`,
    why: `each costs a mount, and ${CAPS.maskCount} is the most a sandbox may have`,
    next: 'Deny the directories instead of the files in them.',
  });
}

/** A mask as it must show inside, for the agent to check before anything runs. */
export interface VerifyEntry {
  readonly path: string;
  readonly kind: Mask['kind'];
}

/** A mask where it shows inside. */
export interface ShownMask {
  readonly mask: Mask;
  readonly path: string;
  /** Whether the tree it lies in is mounted writable. */
  readonly writable: boolean;
}

/** Where each mask shows inside the view. One that an inner mount covers shows nowhere, and needs no check. */
export function verifyEntries(plan: Plan, absent: ReadonlySet<string>): readonly VerifyEntry[] {
  return shownMasks(plan, absent).map(({ mask, path: shown }) => ({ path: shown, kind: mask.kind }));
}

/** The masks that show inside, at each place where they do; those of `absent` paths are left out. */
export function shownMasks(plan: Plan, absent: ReadonlySet<string>): readonly ShownMask[] {
  const mounted = plan.masks.filter((mask) => !absent.has(mask.path));
  const roots = [...new Set(mounted.map((mask) => mask.root))];
  return plan.view.flatMap((bind) => {
    // Most of the view is the base system, which holds no tree with a mask.
    if (bind.kind !== 'bind' || !roots.some((root) => related(root, bind.source))) return [];
    const above = plan.view.filter((mount) => related(mount.target, bind.target));
    const { writable } = bind;
    return mounted
      .filter((mask) => isWithin(mask.path, bind.source))
      .map((mask) => ({ mask, path: bind.target + mask.path.slice(bind.source.length), writable }))
      .filter((entry) => topMount(above, entry.path) === bind);
  });
}

/** One lies in the other. */
const related = (a: string, b: string): boolean => isWithin(a, b) || isWithin(b, a);

function topMount(view: Plan['view'], inside: string): Plan['view'][number] | undefined {
  let top: Plan['view'][number] | undefined;
  for (const mount of view) {
    if (isWithin(inside, mount.target) && mount.target.length >= (top?.target.length ?? 0)) top = mount;
  }
  return top;
}
