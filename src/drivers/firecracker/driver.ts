import { existsSync } from 'node:fs';
import type { Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { spawnAirlock, type Airlock, type JailExit } from '../../agent/airlock.ts';
import { encodeBootSpec } from '../../agent/boot.ts';
import type { BootSpec } from '../../agent/contract.ts';
import { encodeMachineSpec, machineReady } from '../../agent/machine.ts';
import type { MachineSpec } from '../../agent/machine-contract.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { HeldMachine, Jail, MakeBootInput, SpawnedJail } from '../bubblewrap/driver.ts';
import { listenerSpecs, type AirlockInput, type BootInput } from '../bubblewrap/spec.ts';
import type { Plan } from '../contract.ts';
import { attend } from '../qemu/attend.ts';
import { innerBoot, machineSpec } from '../qemu/boot.ts';
import { ConsoleTail } from '../qemu/console.ts';
import { orViolation } from '../qemu/crash.ts';
import { machineLayout } from '../qemu/layout.ts';
import type { Watchdog } from '../qemu/watchdog.ts';
import { seccompProgram } from '../seccomp-program.ts';
import { firecrackerArgs, firecrackerJailArgs, type FirecrackerJailInput } from './args.ts';
import { startMachine } from './boot.ts';
import { callFirecracker } from './client.ts';
import { PORTS, relaySocket, SOCKETS } from './layout.ts';
import { bootCalls, pauseCall, resumeCall, type BootInput as MachineInput } from './requests.ts';
import { SocketDirectory } from './sockets.ts';

export interface FirecrackerLaunch
  extends AirlockInput, Omit<FirecrackerJailInput, 'snapshot'>, Omit<MachineInput, 'disk'> {
  readonly id: string;
  readonly mode: BootSpec['mode'];
  /** Limits that the kernel has enforced on the whole jail so far. */
  readonly limitsHit: () => readonly LimitName[];
}

/** A machine that is coming up. */
export interface SpawnedFirecracker extends Pick<SpawnedJail, 'kill'> {
  /** As `SpawnedJail.boot`; the machine's relay connects to `relay`, which does not listen yet. */
  boot(make: MakeBootInput, relay: Server): Promise<Jail>;
}

/**
 * Starts a machine: Firecracker in a jail without a network and without a file of the policy, our agent as the first process inside, and between them
 * unix sockets of one directory.
 *
 * @throws E_UNSUPPORTED for a plan with trees of the host
 */
export function spawnFirecracker(input: FirecrackerLaunch): SpawnedFirecracker {
  refuseTrees(input.plan);
  const [, ...words] = firecrackerJailArgs(input);
  const airlock = spawnAirlock({
    agent: input.agent,
    mode: 'oneshot',
    stdio: ['ignore', 'pipe', 'pipe'],
    spec: {
      cgroups: input.cgroups,
      scratch: input.scratch,
      argv: [input.bubblewrap, ...words],
      env: {},
      network: false,
    },
  });
  const kill = (): Promise<void> => airlock.kill();
  const boot: SpawnedFirecracker['boot'] = async (make, relay) => {
    const sockets = new SocketDirectory(input.sockets);
    try {
      await sockets.listen(relay, relaySocket());
      const made: { input?: BootInput } = {};
      const jail = await airlock.boot(async (ready) => {
        made.input = await make(ready);
        return firecrackerBoot(input);
      });
      return await connect({ input, jail, sockets }, made.input);
    } catch (error) {
      await kill();
      sockets.close();
      throw error;
    }
  };
  return { boot, kill };
}

/**
 * Firecracker serves no files, so a tree has to be copied in, and this driver does not do that.
 *
 * @throws E_UNSUPPORTED
 */
export function refuseTrees(plan: Plan): void {
  const [tree] = machineLayout(plan, { served: false }).view;
  if (tree === undefined) return;
  throw new GloveboxError('E_UNSUPPORTED', {
    what: `Firecracker cannot show ${tree.target} to its machine`,
    why: 'it serves no files of the host, and this driver copies none in',
    next: 'Take `driver: qemu`, which is the default.',
  });
}

/** Firecracker in its jail. What it and the guest's console say goes to both ends of its output. */
async function firecrackerBoot({ id, arch }: FirecrackerLaunch): Promise<BootSpec> {
  const seccomp = await seccompProgram({ arch, profile: 'default', nesting: false });
  const stdio = ['null', 'inherit', 'inherit'] as const;
  return { mode: 'oneshot', seccomp, exec: { argv: firecrackerArgs(id), env: {}, cwd: '/', stdio } };
}

interface Booted {
  readonly input: FirecrackerLaunch;
  readonly jail: Airlock;
  readonly sockets: SocketDirectory;
}

async function connect(machine: Booted, boot: BootInput | undefined): Promise<Jail> {
  const { input, jail, sockets } = machine;
  if (boot === undefined) throw new GloveboxError('E_INTERNAL', { what: 'a machine without a boot' });
  const { child } = jail;
  const exited = partedOf(machine);
  const directory = input.sockets;
  return attend({
    hypervisor: 'Firecracker',
    child,
    exited,
    tail: new ConsoleTail(child.stdout, child.stderr),
    listeners: new Map(),
    outside: [{ kind: 'directory', name: directory, present: () => existsSync(directory) }],
    oneshot: input.mode === 'oneshot',
    limitsHit: input.limitsHit,
    comesUp: (dead) => comesUp(machine, exited, dead),
    tell: async (channel) => {
      channel.write(encodeMachineSpec(firecrackerSpec(input.plan)));
      channel.write(encodeBootSpec(innerBoot(boot)));
    },
    hold: ({ watchdog }) => holdOf(`${sockets.path}/${SOCKETS.api}`, watchdog),
  });
}

/** Its end, and then that of what it alone used. */
async function partedOf({ jail, sockets }: Booted): Promise<JailExit> {
  try {
    const [exit] = await Promise.all([jail.exited, jail.session.closed]);
    return exit;
  } finally {
    sockets.close();
  }
}

/** A Firecracker that has ended answers nobody, so nobody is asked any more. */
async function comesUp(
  { input, sockets }: Booted,
  exited: Promise<JailExit>,
  dead: Promise<never>,
): Promise<Duplex> {
  const ended = new AbortController();
  void exited.then(() => ended.abort());
  const { arch, memoryBytes, cpus, base } = input;
  const calls = bootCalls({ arch, memoryBytes, cpus, disk: base !== undefined });
  const start = { sockets: sockets.path, calls, timeoutMs: CAPS.machineStartMs, signal: ended.signal };
  const channel = await startMachine(start).catch((error: unknown) =>
    ended.signal.aborted ? dead : Promise.reject(error),
  );
  await machineReady(channel).catch((error: unknown) => orViolation(error, dead));
  return channel;
}

/** As every machine is told; but its way out is a port of the host. */
function firecrackerSpec(plan: Plan): MachineSpec {
  return {
    ...machineSpec(plan, []),
    network: { vsockPort: PORTS.relay, listeners: listenerSpecs(plan) },
  };
}

/** Firecracker stops its processors; what the guest's devices were given waits. */
function holdOf(api: string, watchdog: Watchdog): HeldMachine {
  return {
    pause: async () => {
      watchdog.pause();
      await callFirecracker(api, pauseCall()).catch((error: unknown) => {
        watchdog.resume();
        throw error;
      });
    },
    resume: async () => {
      await callFirecracker(api, resumeCall());
      watchdog.resume();
    },
    uncopied: 'a machine of Firecracker',
  };
}
