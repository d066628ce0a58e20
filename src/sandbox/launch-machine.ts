import { rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { locateAgent } from '../agent/locate.ts';
import { GloveboxError } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { findBubblewrap } from '../drivers/bubblewrap/probe.ts';
import type { Plan } from '../drivers/contract.ts';
import { fillMade } from '../drivers/inspection.ts';
import { seccompProgram } from '../drivers/seccomp-program.ts';
import {
  chooseAccelerator,
  findFileServer,
  findNested,
  findQemu,
  RELAY_LISTENER,
  serverOf,
  shareNames,
  spawnMachine,
  templateKey,
  tscKhz,
  type BootedFiles,
  type CopiedTrees,
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
import { copiedTrees, NO_FILE_SERVER, type CopyInput } from './machine-copy.ts';
import { machineDirectory } from './machine-directory.ts';
import { templateFor, type TemplateRequest } from './machine-template.ts';
import { planTemplateFor, type PlanTemplate } from './plan-template.ts';
import { warmUp, warmUpKey } from './warm-up.ts';

/** A guest's memory where the policy names no limit, in bytes. */
const MEMORY_BYTES = 1024 ** 3;
/**
 * The least that a guest's memory may be, in bytes. With 96 MiB a kernel boots and has 16 left; with 80 it panics. gVisor is in the initial RAM disk, which
 * 128 MiB do not hold, and its kernel and gofer need memory of their own: with 144 MiB a program has 8, with 160 it has 24 and with 192 it has 56.
 */
const LEAST_MEMORY_BYTES: Readonly<Record<'vm' | 'vm+gvisor', number>> = {
  vm: 128 * 1024 ** 2,
  'vm+gvisor': 192 * 1024 ** 2,
};

/** Starts the vm tier. @throws E_TIER_UNAVAILABLE, E_LIMIT_UNAVAILABLE */
export async function launchMachine(input: LaunchInput): Promise<Launched> {
  const { id, start, limits, sshAgent, teardown } = input;
  const { plan } = start.prepared;
  const { env, dirs } = start;
  const filled = fillMade(plan, input.made);
  const nested = plan.tier === 'vm+gvisor' ? await nestedOf(input) : undefined;
  const guest = await guestOf(input, nested?.runsc);
  const sockets = machineDirectory(dirs, id);
  teardown.add('machine sockets', () => rmSync(sockets, { recursive: true, force: true }));
  const copied = copiedOf(input, filled, guest);
  const shape = machineOf(input, filled, { boots: guest.boots, copied });
  const machine = await accelerated(input, guest, { ...shape, sockets });
  const request = { ...guest, machine, key: templateKey(machine, guest.files), tier: plan.tier, env };
  const template = start.origin?.template ?? (await templateFor(request));
  const again = template?.live === true ? undefined : await planTemplateOf(input, request, filled);
  const jail = spawnMachine({
    ...machine,
    plan: filled,
    cgroups: limits.joinPaths,
    mode: start.exec === undefined ? 'serve' : 'oneshot',
    limitsHit: () => limits.usage().hit,
    notice: guest.progress,
    ...(nested === undefined ? {} : { nested }),
    ...(copied === undefined ? {} : { copiedTrees: copied }),
    ...(template === undefined ? {} : { template }),
    ...(again?.template === undefined ? {} : { planTemplate: again.template }),
  });
  const boot: Launched['boot'] = async (gateway, make) => {
    const booted = await jail.boot(make, (listeners) => {
      const handle = listeners.get(RELAY_LISTENER);
      if (typeof handle !== 'object' || handle === null)
        throw new GloveboxError('E_SANDBOX_START', {
          what: 'the airlock handed over no socket for the relay',
        });
      const relay = createRelayServer();
      teardown.add('relay', () => void relay.close());
      gateway.attachRelay(plan.network.listeners, relay, sshAgent && ((socket) => sshAgent.serve(socket)));
      relay.listen(handle);
    });
    await again?.save({ ...booted, warmUp: () => warmUp(input, booted.session) });
    return booted;
  };
  return { boot, kill: () => jail.kill() };
}

/** Undefined where a start is not like the next one. */
async function planTemplateOf(
  { start, limits, review }: LaunchInput,
  request: TemplateRequest,
  plan: Plan,
): Promise<PlanTemplate | undefined> {
  const { env, machine } = request;
  const isAlike = start.exec === undefined && review === undefined && plan.tier === 'vm';
  if (!isAlike || machine.shares.length === 0 || env['GLOVEBOX_VM_TEMPLATE'] !== undefined) return undefined;
  const seccomp = await seccompProgram({ arch: machine.arch, ...plan.syscalls });
  const held = start.warmUp === undefined ? [] : await warmUpKey(start.warmUp, start.prepared);
  return planTemplateFor({ ...request, told: { plan, seccomp, limits: limits.rlimits, held } });
}

/** @throws E_TIER_UNAVAILABLE */
async function nestedOf({ start, limits }: LaunchInput): Promise<Nested & { readonly runsc: string }> {
  const { filesLimit } = await import('../drivers/gvisor/index.ts');
  return { ...findNested(start.env, start.prepared.plan.workspace), files: filesLimit(limits.rlimits) };
}

/** What a machine boots. */
type GuestFiles = Pick<TemplateInput, 'kernel' | 'initrd' | 'disk'>;

/** The machine before it is told which sandbox it is. */
function machineOf(
  { start }: LaunchInput,
  plan: Plan,
  { boots, copied }: { readonly boots: GuestFiles; readonly copied: CopiedTrees | undefined },
): TemplateInput {
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
    shares: shareNames(plan, boots.disk !== undefined, copied?.targets),
    files: copied !== undefined,
    ...(khz === undefined ? {} : { tscKhz: khz }),
    ...(server === undefined ? {} : { server }),
  };
}

/** @throws E_TIER_UNAVAILABLE, E_REVIEW_TOO_LARGE */
function copiedOf(
  { start, review }: LaunchInput,
  plan: Plan,
  { boots, progress }: Guest,
): CopiedTrees | undefined {
  const server = findFileServer(start.env, plan.workspace);
  // The host's system is too large to be copied.
  if (boots.disk === undefined) serverOf(server);
  const unserved = server === undefined ? { unserved: NO_FILE_SERVER } : {};
  return copiedTrees({ ...copyInput({ start, review }, plan), ...unserved, notice: progress });
}

/** What every machine that trees are copied into has in common. @throws E_LIMIT_UNAVAILABLE */
export function copyInput(
  { start, review }: Pick<LaunchInput, 'start' | 'review'>,
  plan: Plan,
): Omit<CopyInput, 'unserved' | 'notice'> {
  return {
    plan,
    review,
    isTemporary: start.temporary === plan.workspace,
    isForced: start.prepared.policy.filesystem.mode !== 'review',
    memoryBytes: memoryOf(plan),
  };
}

/** The limit is the machine's memory. @throws E_LIMIT_UNAVAILABLE when no guest boots with it */
export function memoryOf({ limits, tier }: Plan): number {
  const { memoryBytes = MEMORY_BYTES } = limits;
  const least = LEAST_MEMORY_BYTES[tier === 'vm+gvisor' ? tier : 'vm'];
  if (memoryBytes >= least) return memoryBytes;
  throw new GloveboxError('E_LIMIT_UNAVAILABLE', {
    what: `the ${tier} tier cannot hold limits.memory at ${memoryBytes} bytes`,
    why: 'it is the memory of the whole machine, and its kernel needs some of it',
    next: `Allow at least ${least / 1024 ** 2}MiB, or use another tier.`,
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

interface Guest extends Pick<TemplateRequest, 'cache' | 'lease' | 'base' | 'progress'> {
  readonly files: BootedFiles;
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

export function rootOf({ root, label, chain }: BaseImage): RootSource {
  return { kind: 'tree', root, label, ...(chain === undefined ? {} : { key: chain }) };
}
