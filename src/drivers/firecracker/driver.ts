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
import { attend } from '../qemu/attend.ts';
import { innerBoot, machineSpec } from '../qemu/boot.ts';
import { ConsoleTail } from '../qemu/console.ts';
import { orViolation } from '../qemu/crash.ts';
import type { CopiedTrees } from '../qemu/copied.ts';
import type { Watchdog } from '../qemu/watchdog.ts';
import { seccompProgram } from '../seccomp-program.ts';
import { firecrackerArgs, firecrackerJailArgs, type FirecrackerJailInput } from './args.ts';
import { startMachine } from './boot.ts';
import { dialGuest } from './channel.ts';
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
  /** All trees of the plan: Firecracker serves none. */
  readonly copiedTrees?: CopiedTrees;
}

/** A machine that is coming up. */
export interface SpawnedFirecracker extends Pick<SpawnedJail, 'kill'> {
  /** As `SpawnedJail.boot`; the machine's relay connects to `relay`, which does not listen yet. */
  boot(make: MakeBootInput, relay: Server): Promise<Jail>;
}

/**
 * Starts a machine: Firecracker in a jail without a network and without a file of the policy, our agent as the first process inside, and between them
 * unix sockets of one directory.
 */
export function spawnFirecracker(input: FirecrackerLaunch): SpawnedFirecracker {
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
    ...(input.copiedTrees === undefined ? {} : { leaving: input.copiedTrees.leaving }),
    tell: async (channel) => {
      channel.write(encodeMachineSpec(firecrackerSpec(input)));
      channel.write(encodeBootSpec(innerBoot(boot)));
      await sendTrees(machine, exited);
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

/** The sandbox begins when the machine has them. */
async function sendTrees({ input, sockets }: Booted, exited: Promise<JailExit>): Promise<void> {
  const { copiedTrees } = input;
  if (copiedTrees === undefined) return;
  const socket = `${sockets.path}/${SOCKETS.guest}`;
  const wait = { timeoutMs: CAPS.machineStartMs, signal: untilEnd(exited) };
  const port = await dialGuest({ socket, port: PORTS.files, ...wait });
  const sent = copiedTrees.start(port);
  port.resume();
  await sent;
}

function untilEnd(exited: Promise<JailExit>): AbortSignal {
  const ended = new AbortController();
  void exited.then(() => ended.abort());
  return ended.signal;
}

/** A Firecracker that has ended answers nobody, so nobody is asked any more. */
async function comesUp(
  { input, sockets }: Booted,
  exited: Promise<JailExit>,
  dead: Promise<never>,
): Promise<Duplex> {
  const signal = untilEnd(exited);
  const { arch, memoryBytes, cpus, base } = input;
  const calls = bootCalls({ arch, memoryBytes, cpus, disk: base !== undefined });
  const start = { sockets: sockets.path, calls, timeoutMs: CAPS.machineStartMs, signal };
  const channel = await startMachine(start).catch((error: unknown) =>
    signal.aborted ? dead : Promise.reject(error),
  );
  await machineReady(channel).catch((error: unknown) => orViolation(error, dead));
  return channel;
}

/** As every machine is told; but its way out is a port of the host. */
function firecrackerSpec({ plan, copiedTrees }: FirecrackerLaunch): MachineSpec {
  return {
    ...machineSpec(plan, [], undefined, copiedTrees),
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
