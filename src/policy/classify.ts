import picomatch from 'picomatch';
import { isWithin } from '../base/path-bytes.ts';
import type { Origin, PathRule, Policy } from './contract.ts';

/** What a path is to a sandbox: `base` is left to the base system and the empty home. */
export type PathAccess = 'denied' | 'protected' | 'write' | 'read' | 'base';

export interface PathClass {
  readonly access: PathAccess;
  /** The rule that decides; absent for `base`. */
  readonly rule?: string;
  readonly origin?: Origin;
}

/**
 * What the policy says of an absolute path, by its name alone (links are the plan's business): deny beats protect beats write
 * beats read.
 */
export function classifyPath(policy: Policy, target: string): PathClass {
  const { filesystem } = policy;
  const denied = filesystem.deny.find((rule) => covers(rule, target));
  if (denied !== undefined) return classOf('denied', denied);
  const visible = visibleClass(policy, target);
  if (visible.access !== 'write') return visible;
  const guarded = filesystem.protect.find((rule) => covers(rule, target));
  return guarded === undefined ? visible : classOf('protected', guarded);
}

function visibleClass(policy: Policy, target: string): PathClass {
  const { filesystem } = policy;
  const written = filesystem.write.find((rule) => covers(rule, target));
  if (written !== undefined) return classOf('write', written);
  if (isWithin(target, filesystem.workspace)) {
    return { access: filesystem.workspaceWritable ? 'write' : 'read', rule: 'filesystem.workspace' };
  }
  const readable = filesystem.read.find((rule) => covers(rule, target));
  return readable === undefined ? { access: 'base' } : classOf('read', readable);
}

function classOf(access: PathAccess, rule: PathRule): PathClass {
  return { access, rule: rule.id, origin: rule.origin };
}

/** A pattern also covers everything below what it matches. */
function covers(rule: PathRule, target: string): boolean {
  if (!rule.glob) return isWithin(target, rule.path);
  const matches = picomatch(rule.path, { dot: true, nonegate: true });
  for (let path = target; path !== '/'; path = path.slice(0, path.lastIndexOf('/')) || '/')
    if (matches(path)) return true;
  return false;
}
