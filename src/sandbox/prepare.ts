import { statSync } from 'node:fs';
import path from 'node:path';
import { canonicalHash } from '../base/canonical-json.ts';
import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import { gloveboxDirs } from '../base/paths.ts';
import { packageRoot } from '../base/version.ts';
import { chooseTier, type TierChoice } from '../drivers/choose.ts';
import type { Plan } from '../drivers/contract.ts';
import { realPath } from '../drivers/facts.ts';
import { compilePlan, type PlanFacts } from '../drivers/plan.ts';
import { surveyGuards, type Guard, type VisibleTree } from '../drivers/survey.ts';
import { viewFacts, type ViewFacts } from '../drivers/view.ts';
import { refuseMasksInTrees } from '../drivers/inspection.ts';
import type { BaseImage } from '../images/contract.ts';
import type { FilesystemPolicy, PathRule, Policy } from '../policy/contract.ts';
import type { ReviewRules } from '../review/contract.ts';
import { trustEnvironment } from './egress.ts';
import { isOfWorkspace, isReviewed, refuseHiddenCopy, reviewRules } from './review-rules.ts';

export interface PrepareInput {
  readonly policy: Policy;
  /** The caller's environment: only what the policy names is taken from it. */
  readonly env: NodeJS.ProcessEnv;
  readonly home: string;
  /** Where the command should start; must be visible inside. Default: the workspace. */
  readonly cwd?: string;
}

export interface PreparedPlan {
  readonly plan: Plan;
  /** What the plan was made from; the broker's credentials are in it. */
  readonly policy: Policy;
  /** SHA-256 of the plan's canonical JSON, hex. */
  readonly hash: string;
  readonly notices: readonly string[];
  /** The workspace is a copy, and these rules say what of it comes back. */
  readonly review?: ReviewRules;
  /** The base system, where it is not the host's. */
  readonly image?: BaseImage;
}

/** Homes that cannot be an empty directory of their own inside. */
const UNUSABLE_HOMES = ['/usr', '/bin', '/sbin', '/lib', '/etc', '/proc', '/dev', '/tmp'];
const FALLBACK_HOME = '/home/sandbox';

/** Looks at the machine and compiles the plan; nothing is created or changed. */
export async function preparePlan(input: PrepareInput): Promise<PreparedPlan> {
  const { policy } = input;
  const choice = chooseTier(policy, input.env);
  const view = viewFacts(policy);
  const found = await surveyGuards(withOwnFiles(policy.filesystem, input.env), view.trees);
  const isServed = await canShare(choice, input);
  const { guards, review } = reviewOf(input, view.trees, { found, isServed });
  const home = usableHome(input.home, policy.filesystem.workspace);
  refuseMasksInTrees(policy, view.trees);
  const base = await imageBase(input, view.trees);
  const visible = [...view.trees.map((tree) => tree.target), home, '/tmp'];
  const cwd = startDirectory(
    input.cwd,
    policy,
    (dir) =>
      [...visible, ...(base === undefined ? ['/usr'] : [])].some((tree) => isWithin(dir, tree)) ||
      base?.hasDirectory(dir) === true,
  );
  const facts = {
    tier: choice.tier,
    driver: choice.driver,
    guards,
    hostEnv: input.env,
    home,
    cwd,
    review: review !== undefined,
  };
  const compiled = compilePlan(policy, {
    ...facts,
    view: base === undefined ? view : base.view(view, facts),
  });
  const env = { ...(await trustEnvironment(compiled)), ...compiled.env };
  const plan = Object.freeze({ ...compiled, env });
  return {
    plan,
    policy,
    // Not needed before the sandbox is on its way.
    get hash() {
      return canonicalHash(plan);
    },
    notices: [choice.notice, base?.notice].filter((one) => one !== undefined),
    ...(review === undefined ? {} : { review }),
    ...(base === undefined ? {} : { image: base.image }),
  };
}

/** False for a machine that no file server serves: it works on a copy of the workspace, whatever the policy says. */
async function canShare({ tier, driver }: TierChoice, { policy, env }: PrepareInput): Promise<boolean> {
  if (driver === 'firecracker') return false;
  const { base, workspace } = policy.filesystem;
  // The host's own system has to be served too, which is refused where it cannot be.
  if ((tier !== 'vm' && tier !== 'vm+gvisor') || base === undefined) return true;
  const { findFileServer } = await import('../drivers/qemu/index.ts');
  return findFileServer(env, workspace) !== undefined;
}

/** In mode review nothing in the copy is in the host's way: what may not change is told when it comes back. */
function reviewOf(
  { policy, env }: PrepareInput,
  trees: readonly VisibleTree[],
  { found, isServed }: { readonly found: readonly Guard[]; readonly isServed: boolean },
): { readonly guards: readonly Guard[]; readonly review?: ReviewRules } {
  const dirs = gloveboxDirs(env);
  if (!isReviewed(policy, dirs, !isServed)) return { guards: found };
  const own = found.filter((guard) => isOfWorkspace(guard, policy));
  const guards = found.filter((guard) => !isOfWorkspace(guard, policy));
  refuseHiddenCopy(guards, dirs);
  return { guards, review: reviewRules(policy, trees, own) };
}

interface PreparedBase {
  readonly image: BaseImage;
  readonly notice: string | undefined;
  hasDirectory(inside: string): boolean;
  /** The facts of the view on it. */
  view(view: ViewFacts, facts: Omit<PlanFacts, 'view'>): ViewFacts;
}

/** Only a policy that names a base system loads the room that knows images. */
async function imageBase(
  { policy, env, home }: PrepareInput,
  trees: readonly VisibleTree[],
): Promise<PreparedBase | undefined> {
  if (policy.filesystem.base === undefined) return undefined;
  const { findBase, foreignNotice, hasDirectory, viewOnBase } = await import('./base.ts');
  const image = findBase(policy.filesystem.base, { dirs: gloveboxDirs(env), home, trees });
  return {
    image,
    notice: foreignNotice(image),
    hasDirectory: (inside) => hasDirectory(image, inside),
    view: (view, facts) => {
      // What will be mounted is what a plan without a base system has.
      const bare = compilePlan(policy, { ...facts, view: { ...view, system: [] } });
      return viewOnBase(view, image, bare.view);
    },
  };
}

/**
 * Glovebox's own files are out of reach wherever a shared tree happens to hold them: state, trust and caches are hidden,
 * and the programs that the next run executes on the host are frozen.
 */
function withOwnFiles(filesystem: FilesystemPolicy, env: NodeJS.ProcessEnv): FilesystemPolicy {
  const dirs = gloveboxDirs(env);
  const root = packageRoot();
  const programs = [
    path.join(root, 'dist'),
    path.join(root, 'agent/build'),
    path.join(root, 'node_modules'),
    process.execPath,
  ];
  const hidden = [dirs.config, dirs.state, dirs.cache, dirs.runtime];
  return {
    ...filesystem,
    deny: [...filesystem.deny, ...hidden.map((dir) => ownRule(dir, 'builtin.own-state'))],
    protect: [...filesystem.protect, ...programs.map((file) => ownRule(file, 'builtin.own-programs'))],
  };
}

const ownRule = (target: string, id: string): PathRule => ({
  id,
  path: target,
  glob: false,
  optional: true,
  origin: { layer: 'built-in', why: 'what Glovebox itself trusts' },
});

function usableHome(home: string, workspace: string): string {
  const bad = home === '/' || UNUSABLE_HOMES.some((dir) => isWithin(home, dir)) || isWithin(home, workspace);
  return bad ? FALLBACK_HOME : home;
}

function startDirectory(
  wanted: string | undefined,
  policy: Policy,
  isVisible: (dir: string) => boolean,
): string {
  const { workspace } = policy.filesystem;
  if (wanted === undefined) return workspace;
  const found = realPath(path.resolve(wanted));
  const target = found ?? path.resolve(wanted);
  if (isVisible(target)) return target;
  throw new GloveboxError('E_CWD_INVALID', {
    what: `there is no directory ${printablePath(target)} in the sandbox`,
    why: whyNotVisible(found),
    next: `Name a directory in ${workspace}, or make it visible with --read.`,
  });
}

function whyNotVisible(found: string | undefined): string {
  if (found === undefined) return 'nor on this machine';
  const isDirectory = statSync(found, { throwIfNoEntry: false })?.isDirectory() === true;
  return isDirectory ? 'this machine has it, and the policy does not show it' : 'it is not a directory';
}
