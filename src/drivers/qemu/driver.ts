import { Duplex } from 'node:stream';
import { spawnAirlock, type Airlock, type JailExit } from '../../agent/airlock.ts';
import { encodeBootSpec } from '../../agent/boot.ts';
import type { BootSpec } from '../../agent/contract.ts';
import { encodeMachineSpec, machineReady } from '../../agent/machine.ts';
import { AgentSession } from '../../agent/session.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { Jail, MakeBootInput, SpawnedJail } from '../bubblewrap/driver.ts';
import { bootSpec, type AirlockInput, type BootInput } from '../bubblewrap/spec.ts';
import { seccompProgram } from '../seccomp-program.ts';
import {
  machineJailArgs,
  qemuArgs,
  type FileServer,
  type MachineInput,
  type MachineJailInput,
} from './args.ts';
import { innerBoot, machineSpec, RELAY_PORT } from './boot.ts';
import { ConsoleTail } from './console.ts';
import { machineLayout } from './layout.ts';
import { spawnShare, type Share, type ShareInput } from './share.ts';

export interface MachineLaunch
  extends
    AirlockInput,
    Omit<MachineInput, 'shares' | 'network' | 'disk'>,
    Pick<MachineJailInput, 'kernel' | 'initrd' | 'disk'> {
  readonly mode: BootSpec['mode'];
  /** Private directory of the host for the sockets of this machine alone. */
  readonly sockets: string;
  /** Needed when the plan shares anything. */
  readonly server?: FileServer;
  /** Limits that the kernel has enforced on the whole jail so far. */
  readonly limitsHit: () => readonly LimitName[];
}

/** The listener of the relay, among those of the jail. */
export const RELAY_LISTENER = 1;

/** Told of the airlock's sockets before anything of the guest's runs. */
export type OnListeners = (listeners: Airlock['listeners']) => void;

/** A machine that is coming up. */
export interface SpawnedMachine extends Pick<SpawnedJail, 'kill'> {
  /** As `SpawnedJail.boot`. */
  boot(make: MakeBootInput, onListeners: OnListeners): Promise<Jail>;
}

/**
 * Starts a machine: QEMU in one jail, its file server in another, and in the machine our agent as the first process. The guest's channel is the
 * standard output of QEMU's jail, a socket, as in the container tier.
 */
export function spawnMachine(input: MachineLaunch): SpawnedMachine {
  const shares = sharesOf(input);
  const [, ...words] = machineJailArgs(input);
  const airlock = spawnAirlock({
    agent: input.agent,
    mode: 'oneshot',
    stdio: ['ignore', 'pipe', 'pipe'],
    spec: {
      cgroups: input.cgroups,
      scratch: input.scratch,
      argv: [input.bubblewrap, ...words],
      env: {},
      network: true,
      listeners: [{ id: RELAY_LISTENER, proto: 'tcp', port: RELAY_PORT }],
    },
  });
  const kill = async (): Promise<void> => {
    await Promise.all([airlock.kill(), ...shares.map((share) => share.kill())]);
  };
  const boot: SpawnedMachine['boot'] = async (make, onListeners) => {
    try {
      return await bootMachine(input, { boot: (spec) => airlock.boot(spec), shares, onListeners }, make);
    } catch (error) {
      await kill();
      throw error;
    }
  };
  return { boot, kill };
}

/** The base system has a server where no disk has it; trees of the policy have one where there are any. */
function sharesOf(input: MachineLaunch): readonly Share[] {
  const { base, view } = machineLayout(input.plan);
  const wanted: readonly Pick<ShareInput, 'name' | 'mounts' | 'masks'>[] = [
    { name: 'base', mounts: input.disk === undefined ? base : [], masks: [] },
    { name: 'view', mounts: view, masks: input.plan.masks },
  ];
  return wanted
    .filter(({ mounts }) => mounts.length > 0)
    .map((one) => spawnShare({ ...input, ...one, server: serverOf(input) }));
}

function serverOf({ server }: MachineLaunch): FileServer {
  if (server !== undefined) return server;
  throw new GloveboxError('E_TIER_UNAVAILABLE', {
    what: 'the vm tier cannot share files with its machine',
    why: 'virtiofsd is not installed',
    next: 'Run scripts/setup.sh, or set GLOVEBOX_VIRTIOFSD.',
  });
}

interface Parts {
  readonly boot: (make: (ready: Airlock['ready']) => Promise<BootSpec>) => Promise<Airlock>;
  readonly shares: readonly Share[];
  readonly onListeners: OnListeners;
}

async function bootMachine(
  input: MachineLaunch,
  { boot, shares, onListeners }: Parts,
  make: MakeBootInput,
): Promise<Jail> {
  const made: { input?: BootInput } = {};
  const prepared = async (ready: Airlock['ready']): Promise<BootInput> => (made.input = await make(ready));
  // Masks lie over the trees of the policy; a machine without any has none.
  await Promise.all(
    shares.map((share) =>
      share.boot(async (ready) => (share.name === 'view' ? bootSpec(await prepared(ready)) : {})),
    ),
  );
  const airlock = await boot(async (ready) => {
    if (made.input === undefined) await prepared(ready);
    return qemuBoot(input, shares);
  });
  onListeners(airlock.listeners);
  const channel = airlock.child.stdio[1];
  if (!(channel instanceof Duplex) || made.input === undefined)
    throw new GloveboxError('E_INTERNAL', { what: 'the machine has no channel for its guest' });
  const tail = new ConsoleTail(airlock.child.stderr);
  return connect({ input, airlock, channel, tail, shares }, made.input);
}

async function qemuBoot(input: MachineLaunch, shares: readonly Share[]): Promise<BootSpec> {
  return {
    mode: 'oneshot',
    seccomp: await seccompProgram({ arch: input.arch, profile: 'default', nesting: false }),
    exec: {
      argv: qemuArgs({
        ...input,
        shares: shares.map((share) => share.name),
        disk: input.disk !== undefined,
        network: true,
      }),
      env: {},
      cwd: '/',
      stdio: ['null', 'null', 'inherit'],
      channel: 3,
    },
  };
}

interface Booted {
  readonly input: MachineLaunch;
  readonly airlock: Airlock;
  readonly channel: Duplex;
  readonly tail: ConsoleTail;
  readonly shares: readonly Share[];
}

async function connect(machine: Booted, boot: BootInput): Promise<Jail> {
  const { input, airlock, channel, tail, shares } = machine;
  const state = { killed: false };
  const exited = endOf(airlock).finally(() => Promise.all(shares.map((share) => share.kill())));
  const kill = (): void => {
    state.killed = true;
    airlock.child.kill('SIGKILL');
  };
  // Whoever waits for a file of a server that is gone waits for ever.
  for (const { name, ended } of shares)
    void ended.then((why) => {
      tail.note(`the file server of ${name} ended: ${why}`);
      airlock.child.kill('SIGKILL');
    });
  const dead = exited.then((exit) => died(tail, exit));
  dead.catch(() => undefined);
  // When it ends, its console has more to say than its channel.
  await inTime(Promise.race([machineReady(channel).catch(() => dead), dead]));
  const session = new AgentSession(channel, {
    airlock: false,
    oneshot: input.mode === 'oneshot',
    explain: async () => {
      const meant = state.killed;
      // A machine whose first process has ended switches itself off; one that does not is ended.
      const timer = setTimeout(() => airlock.child.kill('SIGKILL'), LEAVE_MS);
      const exit = await exited;
      clearTimeout(timer);
      return meant ? undefined : crashError(input.limitsHit(), tail, exit);
    },
  });
  channel.write(
    encodeMachineSpec(
      machineSpec(
        input.plan,
        shares.map((share) => share.name),
      ),
    ),
  );
  channel.write(encodeBootSpec(innerBoot(boot)));
  await inTime(session.hello).catch((error: unknown) => {
    throw withConsole(error, tail);
  });
  const { listeners } = airlock;
  return { session, pid: airlock.child.pid, listeners, exited, complaint: () => tail.text(), kill };
}

const LEAVE_MS = 5_000;

async function died(tail: ConsoleTail, { code, signal }: JailExit): Promise<never> {
  throw new GloveboxError('E_SANDBOX_START', {
    what: 'the machine ended while it started',
    why: tail.text().slice(-CONSOLE_SHOWN) || `QEMU ended with ${signal ?? code}`,
  });
}

/** The end of what the console said. */
const CONSOLE_SHOWN = 2000;

/** A machine is a process like others: a limit of the jail ends it, and its kernel can panic. */
function crashError(hit: readonly LimitName[], tail: ConsoleTail, exit: JailExit): GloveboxError {
  if (hit.length > 0) {
    return new GloveboxError('E_LIMIT_EXCEEDED', {
      what: `the sandbox passed its limit: ${hit.join(', ')}`,
      context: { limits: hit },
    });
  }
  return new GloveboxError('E_SANDBOX_CRASHED', {
    what: 'the machine ended by itself',
    why: tail.text().slice(-CONSOLE_SHOWN) || `QEMU ended with ${exit.signal ?? exit.code}`,
    context: { code: exit.code, signal: exit.signal },
  });
}

function withConsole(error: unknown, tail: ConsoleTail): unknown {
  const why = tail.text().slice(-CONSOLE_SHOWN);
  if (why === '' || !isGloveboxError(error) || error.code !== 'E_SANDBOX_START' || error.why !== undefined)
    return error;
  return new GloveboxError('E_SANDBOX_START', { what: error.what, why, cause: error });
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const what = `the machine did not start within ${CAPS.startMs} ms`;
      reject(new GloveboxError('E_SANDBOX_START', { what }));
    }, CAPS.startMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The jail's channel closes with the last process of its pid namespace. */
async function endOf({ exited, session }: Airlock): Promise<JailExit> {
  const [exit] = await Promise.all([exited, session.closed]);
  return exit;
}
