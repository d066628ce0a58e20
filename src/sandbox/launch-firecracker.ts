import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { locateAgent } from '../agent/locate.ts';
import { GloveboxError } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { findBubblewrap } from '../drivers/bubblewrap/probe.ts';
import type { Plan } from '../drivers/contract.ts';
import {
  CPUS_MAX,
  findFirecracker,
  KVM,
  requireConsent,
  spawnFirecracker,
} from '../drivers/firecracker/index.ts';
import { fillMade } from '../drivers/inspection.ts';
import { createRelayServer } from '../gateway/relay.ts';
import type { BaseImage } from '../images/contract.ts';
import { MachineCache, machineCacheDir } from '../machine/cache/cache.ts';
import type { GuestSystem } from '../machine/contract.ts';
import { prepareGuest } from '../machine/guest.ts';
import { findKernel } from '../machine/kernel/find.ts';
import type { Launched, LaunchInput } from './launch.ts';
import { copyInput, memoryOf, rootOf } from './launch-machine.ts';
import { copiedTrees, type Unserved } from './machine-copy.ts';
import { machineDirectory } from './machine-directory.ts';

/** Starts the vm tier with Firecracker. @throws E_TIER_UNAVAILABLE, E_UNSUPPORTED, E_LIMIT_UNAVAILABLE */
export async function launchFirecracker(input: LaunchInput): Promise<Launched> {
  const { id, start, limits, sshAgent, teardown } = input;
  const { env, dirs, prepared } = start;
  const { plan } = prepared;
  const found = await findFirecracker(env, plan.workspace);
  requireConsent(found, env);
  const filled = fillMade(plan, input.made);
  const image = imageOf(plan, prepared.image);
  const copied = copiedTrees({ ...copyInput(input, filled), unserved: UNSERVED, notice: progress });
  const guest = await guestOf(input, image);
  const sockets = machineDirectory(dirs, id);
  teardown.add('machine sockets', () => rmSync(sockets, { recursive: true, force: true }));
  const jail = spawnFirecracker({
    id,
    plan: filled,
    agent: locateAgent(env),
    bubblewrap: findBubblewrap(env, plan.workspace),
    scratch: ensurePrivateDir(path.join(dirs.runtime, 'scratch')),
    cgroups: limits.joinPaths,
    mode: start.exec === undefined ? 'serve' : 'oneshot',
    firecracker: found.path,
    kvm: KVM,
    kernel: guest.kernel.file,
    initrd: guest.initrd.file,
    base: guest.root.file,
    sockets,
    arch: process.arch === 'arm64' ? 'arm64' : 'x64',
    memoryBytes: memoryOf(plan),
    cpus: Math.min(Math.ceil(plan.limits.cpu ?? 1), availableParallelism(), CPUS_MAX),
    limitsHit: () => limits.usage().hit,
    ...(copied === undefined ? {} : { copiedTrees: copied }),
  });
  const boot: Launched['boot'] = (gateway, make) => {
    const relay = createRelayServer();
    teardown.add('relay', () => void relay.close());
    gateway.attachRelay(plan.network.listeners, relay, sshAgent && ((socket) => sshAgent.serve(socket)));
    return jail.boot(make, relay);
  };
  return { boot, kill: () => jail.kill() };
}

/** Of all trees. */
const UNSERVED: Unserved = {
  why: 'Firecracker serves no files',
  next: 'Take `driver: qemu`, which is the default',
};

const progress = (line: string): void => void process.stderr.write(`glovebox: ${line}\n`);

/** The base system is a disk, because there is nobody to serve it. @throws E_UNSUPPORTED */
function imageOf(plan: Plan, image: BaseImage | undefined): BaseImage {
  if (plan.tier === 'vm+gvisor') throw unsupported('gVisor in its machine', 'that was never tried');
  if (image !== undefined) return image;
  throw unsupported("the host's own system", 'it is a disk here, and a copy of it would take minutes');
}

function unsupported(what: string, why: string): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', {
    what: `Firecracker does not run ${what}`,
    why,
    next: 'Name an image, or take `driver: qemu`.',
  });
}

/** What the machine boots, kept in the cache while the sandbox lives. */
async function guestOf({ start, teardown }: LaunchInput, image: BaseImage): Promise<GuestSystem> {
  const { env, dirs, prepared } = start;
  const cache = new MachineCache(machineCacheDir(dirs));
  const lease = cache.lease();
  teardown.add('machine lease', () => lease.release());
  return prepareGuest({
    cache,
    lease,
    kernel: findKernel(env),
    agent: locateAgent(env),
    features: ['vsock'],
    bubblewrap: findBubblewrap(env, prepared.plan.workspace),
    env,
    progress,
    root: rootOf(image),
  });
}
