import { GloveboxError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { CONTAINER_DRIVERS, VM_DRIVERS } from '../policy/driver-names.ts';
import type { ContainerDriver, NamedDriver, Policy, VmDriver } from '../policy/contract.ts';
import type { Plan } from './contract.ts';

/** The tier and the driver that were taken, with the line that is owed to the user. */
export interface TierChoice extends Pick<Plan, 'tier' | 'driver'> {
  readonly notice?: string;
}

/** A container engine: it builds a jail of its own. */
export type EngineDriver = Exclude<ContainerDriver, 'gvisor'>;

/**
 * What `GLOVEBOX_DRIVER` names; undefined where it is not set. Any policy that names a driver counts before it.
 *
 * @throws E_USAGE for a name that is none
 */
export function environmentDriver(env: NodeJS.ProcessEnv): ContainerDriver | undefined {
  const wanted = env['GLOVEBOX_DRIVER'];
  if (wanted === undefined || wanted === '') return undefined;
  const found = CONTAINER_DRIVERS.find((name) => name === wanted);
  if (found !== undefined) return found;
  const near = nearest(wanted, CONTAINER_DRIVERS);
  throw new GloveboxError('E_USAGE', {
    what: `GLOVEBOX_DRIVER is "${wanted}"`,
    why: `the drivers of the container tier are ${CONTAINER_DRIVERS.join(', ')}`,
    next: near === undefined ? 'Set one of them, or unset the variable.' : `Did you mean ${near}?`,
  });
}

/** The engine that a plan is run by; undefined where Glovebox builds the jail itself. */
export function engineOf({ driver }: Pick<Plan, 'driver'>): EngineDriver | undefined {
  return driver === 'docker' || driver === 'podman' ? driver : undefined;
}

/**
 * Chooses tier and driver, and refuses what they cannot hold: a setting that would be ignored is a hole.
 *
 * @throws E_TIER_UNAVAILABLE, E_UNSUPPORTED, E_USAGE
 */
export function chooseTier(policy: Policy, env: NodeJS.ProcessEnv): TierChoice {
  refuseUnsupported(policy);
  refuseIdleDriver(policy);
  if (policy.tier === 'container') return { tier: 'container', ...containerDriver(policy, env) };
  if (policy.tier === 'vm' || policy.tier === 'vm+gvisor')
    return { tier: policy.tier, driver: vmDriver(policy.driver) ?? 'qemu' };
  const taken = { tier: 'process', driver: 'bubblewrap' } as const;
  if (policy.tier === 'process') return taken;
  return {
    ...taken,
    notice:
      'tier process: shares the host kernel behind seccomp; `--tier container` gives the command a kernel of its own',
  };
}

function containerDriver(policy: Policy, env: NodeJS.ProcessEnv): Pick<TierChoice, 'driver' | 'notice'> {
  const asked = environmentDriver(env);
  // A policy that names a driver of another tier has said something of drivers, so the environment has no word, and this tier its own.
  const driver = policy.driver === undefined ? (asked ?? 'gvisor') : (ofContainer(policy.driver) ?? 'gvisor');
  if (asked === undefined || asked === driver || isOption(policy)) return { driver };
  return {
    driver,
    notice: `GLOVEBOX_DRIVER=${asked} does not count: the policy has driver ${policy.driver}`,
  };
}

const ofContainer = (name: NamedDriver | undefined): ContainerDriver | undefined =>
  CONTAINER_DRIVERS.find((known) => known === name);

const vmDriver = (name: NamedDriver | undefined): VmDriver | undefined =>
  VM_DRIVERS.find((known) => known === name);

/** A file may say which driver its containers or machines have. Who names one for this very run means its tier. */
function refuseIdleDriver(policy: Policy): void {
  const { driver, tier } = policy;
  if (driver === undefined || !isOption(policy)) return;
  const own = ofContainer(driver) === undefined ? 'vm' : 'container';
  if (tier === own || (own === 'vm' && tier === 'vm+gvisor')) return;
  throw new GloveboxError('E_USAGE', {
    what: `the driver ${driver} was asked for, and the tier is ${tier}`,
    why: `that is what the ${own} tier is made with`,
    next: `Ask for the tier too: --tier ${own}.`,
  });
}

const isOption = ({ sources }: Policy): boolean => {
  const origin = sources?.['driver'];
  return origin?.layer === 'command-line' && origin.position === undefined;
};

function refuseUnsupported(policy: Policy): void {
  const reserved = Object.keys(policy.reserved)[0];
  if (reserved !== undefined) throw unsupported(reserved, 'this section is not in this version');
}

function unsupported(what: string, why: string): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', { what: `cannot honour ${what}`, why });
}
