import { rmSync } from 'node:fs';
import path from 'node:path';
import { locateAgent } from '../agent/locate.ts';
import { GloveboxError } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { findBubblewrap } from '../drivers/bubblewrap/probe.ts';
import { fillMade } from '../drivers/inspection.ts';
import { findFileServer, findQemu, RELAY_LISTENER, spawnMachine, tscKhz } from '../drivers/qemu/index.ts';
import { createRelayServer } from '../gateway/relay.ts';
import { MachineCache, machineCacheDir } from '../machine/cache/cache.ts';
import type { BaseImage } from '../images/contract.ts';
import type { RootSource } from '../machine/contract.ts';
import { ensureInitrd, ensureKernel, prepareGuest } from '../machine/guest.ts';
import { findKernel } from '../machine/kernel/find.ts';
import type { Launched, LaunchInput } from './launch.ts';

/** A guest's memory where the policy names no limit, in bytes. */
const MEMORY_BYTES = 1024 ** 3;

/** Starts the vm tier. @throws E_TIER_UNAVAILABLE */
export async function launchMachine(input: LaunchInput): Promise<Launched> {
  const { id, start, limits, teardown } = input;
  const { plan } = start.prepared;
  const { env, dirs } = start;
  const filled = fillMade(plan, input.made);
  const server = findFileServer(env, plan.workspace);
  const guest = await guestOf(input);
  const sockets = ensurePrivateDir(path.join(dirs.runtime, 'machines', id));
  teardown.add('machine sockets', () => rmSync(sockets, { recursive: true, force: true }));
  const khz = tscKhz();
  const jail = spawnMachine({
    plan: filled,
    agent: locateAgent(env),
    bubblewrap: findBubblewrap(env, plan.workspace),
    scratch: ensurePrivateDir(path.join(dirs.runtime, 'scratch')),
    cgroups: limits.joinPaths,
    mode: start.exec === undefined ? 'serve' : 'oneshot',
    qemu: findQemu(env, plan.workspace),
    arch: process.arch === 'arm64' ? 'arm64' : 'x64',
    accelerator: 'tcg',
    memoryBytes: plan.limits.memoryBytes ?? MEMORY_BYTES,
    cpus: 1,
    ...(khz === undefined ? {} : { tscKhz: khz }),
    ...guest,
    sockets,
    ...(server === undefined ? {} : { server }),
    limitsHit: () => limits.usage().hit,
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

interface GuestFiles {
  readonly kernel: string;
  readonly initrd: string;
  readonly disk?: string;
}

/** What the machine boots, kept in the cache while the sandbox lives. */
async function guestOf({ start, teardown }: LaunchInput): Promise<GuestFiles> {
  const { env, dirs, prepared } = start;
  const cache = new MachineCache(machineCacheDir(dirs));
  const lease = cache.lease();
  teardown.add('machine lease', () => lease.release());
  const { image, plan } = prepared;
  const input = {
    cache,
    lease,
    kernel: findKernel(env),
    agent: locateAgent(env),
    features: ['network', 'share'] as const,
    bubblewrap: findBubblewrap(env, plan.workspace),
    env,
    progress: (line: string) => void process.stderr.write(`glovebox: ${line}\n`),
  };
  // The host's own system is served as it is: a copy of it takes minutes and gigabytes, and is old with the next update.
  if (image === undefined) {
    const kernel = await ensureKernel(input);
    const initrd = await ensureInitrd(input);
    return { kernel: kernel.file, initrd: initrd.file };
  }
  const { kernel, initrd, root } = await prepareGuest({ ...input, root: rootOf(image) });
  return { kernel: kernel.file, initrd: initrd.file, disk: root.file };
}

function rootOf({ root, label, chain }: BaseImage): RootSource {
  return { kind: 'tree', root, label, ...(chain === undefined ? {} : { key: chain }) };
}
