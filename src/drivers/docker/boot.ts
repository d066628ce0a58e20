import type { AirlockSpec, BootSpec, LandlockRule, VerifyIdentity } from '../../agent/contract.ts';
import { bootSpec, maskOp, type BootInput } from '../bubblewrap/spec.ts';
import type { Plan } from '../contract.ts';
import { guestBoot } from '../gvisor/boot.ts';
import type { MaskMount } from './masks.ts';

/** What the agent finds before anything runs. */
export interface EngineChecks {
  readonly masks: readonly MaskMount[];
  /** Of what the engine was told to bind: it follows links, and somebody may have put one there meanwhile. */
  readonly identities: readonly VerifyIdentity[];
  /** A guest kernel shows which mounts there are, and not which file of the host each is. */
  readonly guestKernel: boolean;
}

/** What the container's agent does. As in a guest of the container tier, with a network namespace of its own and Landlock. Pure. */
export function engineBoot(input: BootInput, { masks, identities, guestKernel }: EngineChecks): BootSpec {
  const base = guestBoot(input);
  const { landlock } = bootSpec(input);
  const guest = base.guest === undefined ? {} : { guest: { ...base.guest, ownNetwork: true } };
  const verify = masks.map(({ verify: one }) => one);
  if (guestKernel) return { ...base, ...guest, verify };
  return {
    ...base,
    ...guest,
    verify,
    ...(landlock === undefined
      ? {}
      : { landlock: { ...landlock, rules: landlock.rules.flatMap(deviceRules) } }),
    identities: [...input.identities, ...identities],
  };
}

/** LANDLOCK_ACCESS_FS_* (landlock(7)): look, write to what is there, truncate, ask a device. */
const USE = (1n << 1n) | (1n << 2n) | (1n << 3n) | (1n << 14n) | (1n << 15n);

/**
 * The engine's /dev is a file system of 64 MiB that belongs to uid 0, and a caller who is root has that uid: so that nothing is made in
 * it, only used. Its shared memory has a size of its own.
 */
function deviceRules(rule: LandlockRule): readonly LandlockRule[] {
  if (Buffer.from(rule.path).toString() !== '/dev') return [rule];
  return [
    { ...rule, access: rule.access & USE },
    { ...rule, path: '/dev/shm' },
  ];
}

/** True when some guarded path does not exist: something has to stand there while the sandbox lives. */
export function needsPlaceholders(plan: Plan): boolean {
  return plan.masks.some((mask) => mask.kind === 'placeholder');
}

/**
 * What the airlock does beside a container: it makes the placeholders and holds their locks, as long as the program that it becomes
 * lives. All masks are named, so that results have the plan's numbers. Pure.
 */
export function holderSpec(
  plan: Plan,
  { scratch, program }: { readonly scratch: string; readonly program: string },
): Omit<AirlockSpec, 'parentPid'> {
  return { scratch, masks: plan.masks.map(maskOp), network: false, argv: [program], env: {} };
}
