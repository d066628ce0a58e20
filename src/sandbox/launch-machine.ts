import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { locateAgent } from '../agent/locate.ts';
import { GloveboxError } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { findBubblewrap } from '../drivers/bubblewrap/probe.ts';
import type { Plan } from '../drivers/contract.ts';
import { fillMade } from '../drivers/inspection.ts';
import {
  chooseAccelerator,
  findFileServer,
  findNested,
  findQemu,
  RELAY_LISTENER,
  shareNames,
  spawnMachine,
  tscKhz,
  type Nested,
  type TemplateInput,
} from '../drivers/qemu/index.ts';
import { createRelayServer } from '../gateway/relay.ts';
import { MachineCache, machineCacheDir } from '../machine/cache/cache.ts';
import type { BaseImage } from '../images/contract.ts';
import type { RootSource } from '../machine/contract.ts';
import { ensureInitrd, ensureKernel, prepareGuest } from '../machine/guest.ts';
import { findKernel } from '../machine/kernel/find.ts';
import type { Launched, LaunchInput } from './launch.ts';
import { machineDirectory } from './machine-directory.ts';
import { templateFor, type TemplateRequest } from './machine-template.ts';

/** A guest's memory where the policy names no limit, in bytes. */
const MEMORY_BYTES = 1024 ** 3;
/** With 96 MiB the guest boots and has 16 left; with 80 its kernel panics. */
const LEAST_MEMORY_BYTES = 128 * 1024 ** 2;

/** Starts the vm tier. @throws E_TIER_UNAVAILABLE, E_LIMIT_UNAVAILABLE */
export async function launchMachine(input: LaunchInput): Promise<Launched> {
  const { id, start, limits, teardown } = input;
  const { plan } = start.prepared;
  const { env, dirs } = start;
  const filled = fillMade(plan, input.made);
  const nested = plan.tier === 'vm+gvisor' ? await nestedOf(input) : undefined;
  const guest = await guestOf(input, nested?.runsc);
  const sockets = machineDirectory(dirs, id);
  teardown.add('machine sockets', () => rmSync(sockets, { recursive: true, force: true }));
  const machine = await accelerated(input, guest, { ...machineOf(input, filled, guest.boots), sockets });
  const template = await templateFor({ ...guest, machine, env });
  const jail = spawnMachine({
    ...machine,
    plan: filled,
    cgroups: limits.joinPaths,
    mode: start.exec === undefined ? 'serve' : 'oneshot',
    limitsHit: () => limits.usage().hit,
    ...(nested === undefined ? {} : { nested }),
    ...(template === undefined ? {} : { template }),
  });
  const boot: Launched['boot'] = async (gateway, make) => {
    const relay = createRelayServer();
    teardown.add('relay', () => void relay.close());
    gateway.attachRelay(plan.network.listeners, relay);
    return jail.boot(make, (listeners) => {
      const handle = listeners.get(RELAY_LISTENER);
      if (typeof handle !== 'object' || handle === null)
        throw new GloveboxError('E_SANDBOX_START', {
          what: 'the airlock handed over no socket for the relay',
        });
      relay.listen(handle);
    });
  };
  return { boot, kill: () => jail.kill() };
}

/** @throws E_TIER_UNAVAILABLE */
async function nestedOf({ start, limits }: LaunchInput): Promise<Nested & { readonly runsc: string }> {
  const { filesLimit } = await import('../drivers/gvisor/index.ts');
  return { ...findNested(start.env, start.prepared.plan.workspace), files: filesLimit(limits.rlimits) };
}

/** What a machine boots. */
type GuestFiles = Pick<TemplateInput, 'kernel' | 'initrd' | 'disk'>;

/** The machine before it is told which sandbox it is. */
function machineOf({ start }: LaunchInput, plan: Plan, boots: GuestFiles): TemplateInput {
  const { env, dirs } = start;
  const khz = tscKhz();
  const server = findFileServer(env, plan.workspace);
  return {
    ...boots,
    agent: locateAgent(env),
    bubblewrap: findBubblewrap(env, plan.workspace),
    scratch: ensurePrivateDir(path.join(dirs.runtime, 'scratch')),
    qemu: findQemu(env, plan.workspace),
    arch: process.arch === 'arm64' ? 'arm64' : 'x64',
    accelerator: 'tcg',
    memoryBytes: memoryOf(plan),
    cpus: 1,
    shares: shareNames(plan, boots.disk !== undefined),
    ...(khz === undefined ? {} : { tscKhz: khz }),
    ...(server === undefined ? {} : { server }),
  };
}

/** The limit is the machine's memory. @throws E_LIMIT_UNAVAILABLE when no guest boots with it */
function memoryOf({ limits }: Plan): number {
  const { memoryBytes = MEMORY_BYTES } = limits;
  if (memoryBytes >= LEAST_MEMORY_BYTES) return memoryBytes;
  throw new GloveboxError('E_LIMIT_UNAVAILABLE', {
    what: `the vm tier cannot hold limits.memory at ${memoryBytes} bytes`,
    why: 'it is the memory of the whole machine, and its kernel needs some of it',
    next: `Allow at least ${LEAST_MEMORY_BYTES / 1024 ** 2}MiB, or use another tier.`,
  });
}

/** With what executes the guest. QEMU emulates one processor after the other, so more of them would only share the time of one. */
async function accelerated<T extends TemplateInput & { readonly sockets: string }>(
  { start }: LaunchInput,
  { progress, files }: Guest,
  machine: T,
): Promise<T> {
  const { env, dirs, prepared } = start;
  const facts = { env, cacheDir: machineCacheDir(dirs), kernelHash: files.kernel, notice: progress };
  const accelerator = await chooseAccelerator({ ...machine, ...facts });
  const { cpu = 1 } = prepared.plan.limits;
  const cpus = accelerator === 'kvm' ? Math.min(Math.ceil(cpu), availableParallelism()) : 1;
  return { ...machine, accelerator, cpus };
}

interface Guest extends Pick<TemplateRequest, 'cache' | 'lease' | 'files' | 'base' | 'progress'> {
  readonly boots: GuestFiles;
}

/** What the machine boots, kept in the cache while the sandbox lives. */
async function guestOf({ start, teardown }: LaunchInput, runsc: string | undefined): Promise<Guest> {
  const { env, dirs, prepared } = start;
  const cache = new MachineCache(machineCacheDir(dirs));
  const lease = cache.lease();
  teardown.add('machine lease', () => lease.release());
  const { image, plan } = prepared;
  const progress = (line: string): void => void process.stderr.write(`glovebox: ${line}\n`);
  const input = {
    cache,
    lease,
    kernel: findKernel(env),
    agent: locateAgent(env),
    features: ['network', 'share'] as const,
    bubblewrap: findBubblewrap(env, plan.workspace),
    env,
    progress,
    ...(runsc === undefined ? {} : { runtime: runsc }),
  };
  // The host's own system is served as it is: a copy of it takes minutes and gigabytes, and is old with the next update.
  if (image === undefined) {
    const kernel = await ensureKernel(input);
    const initrd = await ensureInitrd(input);
    const files = { kernel: kernel.sha256, initrd: initrd.sha256 };
    return {
      cache,
      lease,
      progress,
      files,
      base: 'host',
      boots: { kernel: kernel.file, initrd: initrd.file },
    };
  }
  const { kernel, initrd, root } = await prepareGuest({ ...input, root: rootOf(image) });
  const files = { kernel: kernel.sha256, initrd: initrd.sha256, disk: root.sha256 };
  const boots = { kernel: kernel.file, initrd: initrd.file, disk: root.file };
  return { cache, lease, progress, files, base: image.chain ?? image.root, boots };
}

function rootOf({ root, label, chain }: BaseImage): RootSource {
  return { kind: 'tree', root, label, ...(chain === undefined ? {} : { key: chain }) };
}
