import { createHash } from 'node:crypto';
import { encodeBootSpec } from '../../agent/boot.ts';
import { encodeMachineSpec } from '../../agent/machine.ts';
import type { BootInput } from '../bubblewrap/spec.ts';
import { innerBoot, machineSpec } from './boot.ts';
import type { TemplateInput } from './template.ts';

/** What a machine is told until its sandbox stands. */
export interface ToldPlan extends Pick<BootInput, 'plan' | 'seccomp' | 'limits'> {
  /** What its memory holds besides, from what has run in it. */
  readonly held: readonly string[];
}

/** In place of what is anew in each machine, and is renewed in a clone before anything of it runs. */
const RENEWED = { machineId: '0'.repeat(32), seed: new Uint8Array(64), clockNs: 0n } as const;

/**
 * The name of a template in which a plan's sandbox stands: of the template that it began from, and of everything that the guest was told besides. What
 * the host does for the plan is done anew for each clone, so masks, identities and where files come from are no part of it.
 */
export function planKey(
  shapeKey: string,
  { shares }: Pick<TemplateInput, 'shares'>,
  { plan, seccomp, limits, held }: ToldPlan,
): string {
  const boot = { plan, seccomp, limits, identities: [], placeholders: new Map() };
  const told = [
    encodeMachineSpec({ ...machineSpec(plan, shares), ...RENEWED }),
    encodeBootSpec(innerBoot(boot)),
  ];
  const hash = createHash('sha256').update(shapeKey);
  for (const frame of told) hash.update(frame);
  return hash.update(JSON.stringify(held)).digest('hex');
}
