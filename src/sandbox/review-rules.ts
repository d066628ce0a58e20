import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import type { GloveboxDirs } from '../base/paths.ts';
import { realPattern, type Guard, type VisibleTree } from '../drivers/survey.ts';
import type { PathRule, Policy } from '../policy/contract.ts';
import type { ReviewRules } from '../review/contract.ts';
import { isTemporary, temporaryRoot } from './sweep.ts';

/**
 * True where the sandbox gets a copy of the workspace, because the policy says so or because it cannot have the workspace itself (`isForced`). One
 * that goes with it anyway needs none, and one it may not write neither.
 */
export function isReviewed(policy: Policy, dirs: GloveboxDirs, isForced = false): boolean {
  const { mode, workspace, workspaceWritable } = policy.filesystem;
  return (mode === 'review' || isForced) && workspaceWritable && !isTemporary(workspace, dirs);
}

/**
 * A tree that holds Glovebox's own directories has them hidden in it, and the copy of the workspace lies there.
 *
 * @throws E_UNSUPPORTED
 */
export function refuseHiddenCopy(guards: readonly Guard[], dirs: GloveboxDirs): void {
  const hides = guards.find(({ action, path }) => action === 'deny' && isWithin(temporaryRoot(dirs), path));
  if (hides === undefined) return;
  throw new GloveboxError('E_UNSUPPORTED', {
    what: `mode: review cannot be had together with ${printablePath(hides.root)}`,
    why: `it holds ${printablePath(hides.path)}, which is hidden inside, and the copy of the workspace is made there`,
    next: 'Share the parts of it that are needed, or set XDG_CACHE_HOME to a directory outside of it.',
  });
}

/** A guard in the workspace: on a copy it is a rule for what comes back. */
export const isOfWorkspace = (guard: Guard, { filesystem }: Policy): boolean =>
  guard.root === filesystem.workspace;

/**
 * The policy's rules for the workspace, for the copy and for what comes back.
 *
 * @throws E_POLICY_INVALID where another writable tree is the workspace as well
 */
export function reviewRules(
  { filesystem }: Policy,
  trees: readonly VisibleTree[],
  guards: readonly Guard[],
): ReviewRules {
  const { workspace } = filesystem;
  for (const tree of trees) {
    const meets = [tree.source, tree.target].some(
      (one) => isWithin(one, workspace) || isWithin(workspace, one),
    );
    if (tree.writable && tree.rule !== 'filesystem.workspace' && meets) throw overlaps(tree, workspace);
  }
  const found = (action: Guard['action']): ReadonlyMap<string, string> =>
    new Map(guards.filter((guard) => guard.action === action).map(({ path: at, rule }) => [at, rule]));
  return {
    workspace,
    denied: found('deny'),
    protectedPaths: found('protect'),
    denyGlobs: filesystem.deny.flatMap(patternOf),
    protectGlobs: filesystem.protect.flatMap(patternOf),
    lifted: filesystem.unprotect.map((rule) => rule.path),
  };
}

const patternOf = (rule: PathRule): ReviewRules['denyGlobs'] => {
  const pattern = rule.glob ? realPattern(rule.path)?.pattern : undefined;
  return pattern === undefined ? [] : [{ id: rule.id, pattern }];
};

function overlaps(tree: VisibleTree, workspace: string): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', {
    what: `${printablePath(tree.target)} cannot be writable in mode: review`,
    why: `it is, holds or lies in the workspace ${printablePath(workspace)}, whose changes wait for a person`,
    next: 'Leave out the writable tree, or use mode: direct.',
    context: { rule: tree.rule },
  });
}
