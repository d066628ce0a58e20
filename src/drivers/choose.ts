import { GloveboxError } from '../base/errors.ts';
import type { Policy } from '../policy/contract.ts';
import type { Plan } from './contract.ts';

/** The tier that was taken, with the line that `auto` owes the user. */
export interface TierChoice {
  readonly tier: Plan['tier'];
  readonly notice?: string;
}

/** What the container tier is made with: gVisor in the jail, or an engine that builds its own. */
export type ContainerDriver = 'gvisor' | 'docker' | 'podman';

const DRIVERS: readonly ContainerDriver[] = ['gvisor', 'docker', 'podman'];

/**
 * The container tier's driver: `GLOVEBOX_DRIVER`, or gVisor. Other tiers have one each.
 *
 * @throws E_USAGE for a name that is none
 */
export function containerDriver(env: NodeJS.ProcessEnv): ContainerDriver {
  const wanted = env['GLOVEBOX_DRIVER'];
  if (wanted === undefined || wanted === '') return 'gvisor';
  const found = DRIVERS.find((name) => name === wanted);
  if (found !== undefined) return found;
  throw new GloveboxError('E_USAGE', {
    what: `GLOVEBOX_DRIVER is "${wanted}"`,
    why: `the drivers of the container tier are ${DRIVERS.join(', ')}`,
    next: 'Set one of them, or unset the variable.',
  });
}

/** The engine that a plan is run by; undefined where Glovebox builds the jail itself. @throws E_USAGE */
export function engineOf(
  { tier }: Pick<Plan, 'tier'>,
  env: NodeJS.ProcessEnv,
): Exclude<ContainerDriver, 'gvisor'> | undefined {
  const driver = tier === 'container' ? containerDriver(env) : 'gvisor';
  return driver === 'gvisor' ? undefined : driver;
}

/**
 * Chooses the tier and refuses what it cannot hold: a setting that would be ignored is a hole.
 *
 * @throws E_TIER_UNAVAILABLE, E_UNSUPPORTED
 */
export function chooseTier(policy: Policy): TierChoice {
  refuseUnsupported(policy);
  if (policy.tier === 'process' || policy.tier === 'container') return { tier: policy.tier };
  if (policy.tier === 'auto') {
    return {
      tier: 'process',
      notice:
        'tier process: shares the host kernel behind seccomp; `--tier container` gives the command a kernel of its own',
    };
  }
  throw new GloveboxError('E_TIER_UNAVAILABLE', {
    what: `the policy asks for tier ${policy.tier}`,
    why: 'this version has the tiers process and container',
    next: 'Set `tier: container`: a kernel of its own (gVisor) in the same jail.',
  });
}

function refuseUnsupported(policy: Policy): void {
  if (policy.filesystem.mode === 'review') {
    throw unsupported('filesystem.mode: review', 'the process tier writes the workspace directly');
  }
  const reserved = Object.keys(policy.reserved)[0];
  if (reserved !== undefined) throw unsupported(reserved, 'this section is not in this version');
}

function unsupported(what: string, why: string): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', { what: `cannot honour ${what}`, why });
}
