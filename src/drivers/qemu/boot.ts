import { randomBytes } from 'node:crypto';
import type { BootSpec } from '../../agent/contract.ts';
import type { MachineSpec } from '../../agent/machine-contract.ts';
import { GloveboxError } from '../../base/errors.ts';
import { bootSpec, listenerSpecs, type BootInput } from '../bubblewrap/spec.ts';
import type { Plan } from '../contract.ts';
import { readHardLimits, RLIMIT, UNLIMITED } from '../limits/rlimits.ts';
import type { MachineTemplate } from './template.ts';
import { seccompProgram } from '../seccomp-program.ts';
import { CHANNEL, GUEST_NETWORK, type MachineInput } from './args.ts';
import type { CopiedTrees } from './copied.ts';
import { machineLayout, type ShareName } from './layout.ts';
import { nestedMounts, type Nested } from './nested.ts';

/** The relay's port in the network namespace of QEMU's jail: nothing else listens there. */
export const RELAY_PORT = 1;

/** Bytes for the guest's random number generator: twice what its state holds. */
const SEED_BYTES = 64;

/** QEMU in its jail, with the guest's channel and what there is to complain of. */
export async function machineBoot(arch: MachineInput['arch'], argv: readonly string[]): Promise<BootSpec> {
  const seccomp = await seccompProgram({ arch, profile: 'default', nesting: false });
  const stdio = ['null', 'null', 'inherit'] as const;
  return { mode: 'oneshot', seccomp, exec: { argv, env: {}, cwd: '/', stdio, channel: CHANNEL } };
}

/** What a booted machine is told. Fresh at each call: identity, randomness and clock are never those of another machine. */
export function machineSpec(
  plan: Plan,
  shares: readonly ShareName[],
  nested?: Nested,
  copied?: Pick<CopiedTrees, 'targets' | 'bytes'>,
): MachineSpec {
  const { uid, gid, hostname } = plan.identity;
  const files = shares.length === 0 ? undefined : servedFiles();
  const layout = { copied: copied?.targets, served: shares.includes('base') };
  return {
    hostname,
    machineId: randomBytes(16).toString('hex'),
    seed: randomBytes(SEED_BYTES),
    clockNs: BigInt(Date.now()) * 1_000_000n,
    identity: { uid, gid },
    network: {
      relay: GUEST_NETWORK.host,
      relayPort: RELAY_PORT,
      listeners: nested === undefined ? listenerSpecs(plan) : [],
    },
    ...(shares.includes('view') ? { share: 'view' } : {}),
    ...(shares.includes('base') ? { base: 'base' } : {}),
    mounts: nested === undefined ? machineLayout(plan, layout).guest : nestedMounts(plan, nested, layout),
    ...(files === undefined ? {} : { files }),
    ...(copied === undefined ? {} : { copiedBytes: copied.bytes }),
    runtime: nested !== undefined,
    ...(plan.syscalls.nesting ? { nesting: true } : {}),
  };
}

/** What a copy of a machine is told before anything of its sandbox runs again. Fresh at each call. */
export function machineCopy(
  { identity }: Plan,
  { unused = false }: Pick<MachineTemplate, 'unused'>,
): Pick<MachineSpec, 'hostname' | 'machineId' | 'seed' | 'clockNs'> {
  const { hostname } = identity;
  return {
    // A copy of what ran before is told apart from it.
    hostname: unused ? hostname : `${hostname}-${randomBytes(4).toString('hex')}`,
    machineId: randomBytes(16).toString('hex'),
    seed: randomBytes(SEED_BYTES),
    clockNs: BigInt(Date.now()) * 1_000_000n,
  };
}

/** Files that a machine of 1 GiB remembers at most: inode and name take a kilobyte. Its kernel makes room before there are more. */
const REMEMBERED = 2n ** 20n;

/** A server holds a descriptor for each file that the machine knows; undefined where the machine forgets first. */
function servedFiles(): number | undefined {
  const hard = readHardLimits().get(RLIMIT.NOFILE) ?? UNLIMITED;
  return hard < REMEMBERED ? Number(hard) : undefined;
}

/**
 * What the sandbox's first process does: the same as in the process tier, because the kernel is Linux too. Masks and identities were checked by
 * the file server's jail, whose mounts they are. Pure.
 */
export function innerBoot(input: BootInput): BootSpec {
  if (input.exec?.stdio?.includes('inherit') === true) {
    throw new GloveboxError('E_INTERNAL', { what: 'a machine cannot inherit descriptors of the host' });
  }
  const { verify: _verify, identities: _identities, ...boot } = bootSpec(input);
  return boot;
}
