import { existsSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { spawnAirlock, type Airlock, type JailExit } from '../../agent/airlock.ts';
import { encodeBootSpec } from '../../agent/boot.ts';
import type { BootSpec } from '../../agent/contract.ts';
import { encodeMachineSpec, machineReady } from '../../agent/machine.ts';
import { AgentSession } from '../../agent/session.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import { within } from '../../base/within.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { Jail, MakeBootInput, SpawnedJail } from '../bubblewrap/driver.ts';
import { bootSpec, type AirlockInput, type BootInput } from '../bubblewrap/spec.ts';
import { guestBoot } from '../gvisor/boot.ts';
import {
  machineJailArgs,
  qemuArgs,
  type FileServer,
  type MachineInput,
  type MachineJailInput,
} from './args.ts';
import { innerBoot, machineBoot, machineSpec, RELAY_PORT } from './boot.ts';
import { ConsoleTail } from './console.ts';
import { openControl, type Control } from './control.ts';
import { crashError, died, orViolation, withConsole } from './crash.ts';
import { machineLayout, PLACES } from './layout.ts';
import { goOn } from './migrate.ts';
import { runtimeBoot, type Nested } from './nested.ts';
import { serverOf, spawnShare, type Share, type ShareInput } from './share.ts';
import { memoryEnd, type MachineTemplate } from './template.ts';
import { Watchdog } from './watchdog.ts';

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
  /** gVisor in the machine, for tier vm+gvisor. */
  readonly nested?: Nested;
  /** It goes on from there; absent: it boots. */
  readonly template?: MachineTemplate;
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
  const [, ...words] = machineJailArgs({ ...input, ...placeOf(input.template, shares) });
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

function placeOf(
  template: MachineTemplate | undefined,
  shares: readonly unknown[],
): Pick<MachineJailInput, 'place'> {
  if (template === undefined) return {};
  return { place: { kind: memoryKind(shares), template: template.file, bytes: template.bytes } };
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
    .map((one) => spawnShare({ ...input, ...one, server: serverOf(input.server) }));
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
  const control = await openControl(input.sockets);
  const airlock = await boot(async (ready) => {
    if (made.input === undefined) await prepared(ready);
    return machineBoot(input.arch, qemuArgv(input, shares));
  }).catch((error: unknown) => {
    control.close();
    throw error;
  });
  onListeners(airlock.listeners);
  const [, channel] = airlock.child.stdio;
  if (!(channel instanceof Duplex) || made.input === undefined)
    throw new GloveboxError('E_INTERNAL', { what: 'the machine has no channel for its guest' });
  const tail = new ConsoleTail(airlock.child.stderr);
  return connect({ input, airlock, channel, control, tail, shares }, made.input);
}

function qemuArgv(input: MachineLaunch, shares: readonly Share[]): readonly string[] {
  const { template } = input;
  return qemuArgs({
    ...input,
    shares: shares.map((share) => share.name),
    disk: input.disk !== undefined,
    network: true,
    control: true,
    ...(template === undefined ? {} : { memory: memoryKind(shares) }),
  });
}

/** A file server works on the machine's memory too, and sees no page that was copied aside. */
const memoryKind = (shares: readonly unknown[]): 'shared' | 'private' =>
  shares.length > 0 ? 'shared' : 'private';

interface Booted {
  readonly input: MachineLaunch;
  readonly airlock: Airlock;
  readonly channel: Duplex;
  readonly control: Control;
  readonly tail: ConsoleTail;
  readonly shares: readonly Share[];
}

async function connect(machine: Booted, boot: BootInput): Promise<Jail> {
  const { input, airlock, channel, tail, shares } = machine;
  const state: { killed: boolean; verdict?: string; outOfMemory: boolean } = {
    killed: false,
    outOfMemory: false,
  };
  const hit = (): readonly LimitName[] => [
    ...new Set([...input.limitsHit(), ...(state.outOfMemory ? (['memory'] as const) : [])]),
  ];
  const exited = partedOf(machine);
  const kill = (): void => {
    state.killed = true;
    airlock.child.kill('SIGKILL');
  };
  const end = (verdict: string): void => {
    state.verdict ??= verdict;
    airlock.child.kill('SIGKILL');
  };
  for (const share of shares) void watchServer(share, { exited, end });
  const dead = exited.then((exit) => died(tail, exit));
  dead.catch(() => undefined);
  // When it ends, its console has more to say than its channel.
  await inTime(Promise.race([comesUp(machine, dead), dead]));
  const session = new AgentSession(channel, {
    airlock: false,
    oneshot: input.mode === 'oneshot',
    onOutOfMemory: () => (state.outOfMemory = true),
    explain: async () => {
      const meant = state.killed;
      // A machine whose first process has ended switches itself off; one that does not is ended.
      const timer = setTimeout(() => airlock.child.kill('SIGKILL'), LEAVE_MS);
      const exit = await exited;
      clearTimeout(timer);
      return meant ? undefined : crashError({ exit, tail, hit: hit(), ...verdictOf(state) });
    },
  });
  await tell(machine, boot);
  await greeting(session, machine);
  const watchdog = new Watchdog({
    channel,
    ping: () => session.ping(),
    onHung: () => end('its guest has not answered for half a minute'),
  });
  void exited.then(() => watchdog[Symbol.dispose]());
  const held = (still: boolean): void => (still ? watchdog.pause() : watchdog.resume());
  const { child, listeners } = airlock;
  const complaint = (): string => tail.lastWords();
  return {
    session,
    pid: child.pid,
    listeners,
    exited,
    complaint,
    kill,
    held,
    hit,
    outside: outsideOf(machine),
  };
}

/** Its end, and then that of what it alone used. */
async function partedOf({ airlock, control, shares }: Booted): Promise<JailExit> {
  try {
    return await endOf(airlock);
  } finally {
    control.close();
    await Promise.all(shares.map((share) => share.kill()));
  }
}

/** Whoever waits for a file of a server that is gone waits for ever. It also ends when its machine has. */
async function watchServer(
  { name, ended }: Share,
  machine: { readonly exited: Promise<unknown>; readonly end: (verdict: string) => void },
): Promise<void> {
  const why = await ended;
  if (await within(PARTING_MS, machine.exited)) return;
  machine.end(`the file server of ${name} ended${why === '' ? '' : `: ${why}`}`);
}

async function greeting(session: AgentSession, { input, tail }: Booted): Promise<void> {
  try {
    await inTime(session.hello, input.nested === undefined ? CAPS.machineStartMs : CAPS.nestedStartMs);
  } catch (error) {
    throw withConsole(error, tail);
  }
}

/** What of the host a machine has besides its processes. */
function outsideOf({ input, shares }: Booted): NonNullable<Jail['outside']> {
  const { sockets } = input;
  const directory = { kind: 'directory', name: sockets, present: () => existsSync(sockets) } as const;
  return [...shares.flatMap((share) => share.outside()), directory];
}

/** What makes the machine this sandbox's. */
async function tell({ input, channel, shares }: Booted, boot: BootInput): Promise<void> {
  const names = shares.map((share) => share.name);
  channel.write(encodeMachineSpec(machineSpec(input.plan, names, input.nested)));
  for (const spec of await bootsOf(input, boot)) channel.write(encodeBootSpec(spec));
}

/** Each is for whoever has the channel next. */
async function bootsOf({ nested, arch }: MachineLaunch, boot: BootInput): Promise<readonly BootSpec[]> {
  return nested === undefined ? [innerBoot(boot)] : [await runtimeBoot(nested, arch), guestBoot(boot)];
}

/** A clone was ready before it was saved, and does not say so again. */
async function comesUp(
  { input, airlock, channel, control, tail }: Booted,
  dead: Promise<never>,
): Promise<void> {
  if (input.template === undefined)
    return machineReady(channel).catch((error: unknown) => orViolation(error, dead));
  try {
    const client = await control.client;
    await client.open();
    await goOn(client, PLACES.template, memoryEnd(input));
  } catch (error) {
    tail.note(error instanceof Error ? error.message : String(error));
    airlock.child.kill('SIGKILL');
    return dead;
  }
}

const LEAVE_MS = 5_000;

/** Between the ends of a machine and of its file server. */
const PARTING_MS = 500;

const verdictOf = ({ verdict }: { readonly verdict?: string }): { readonly verdict?: string } =>
  verdict === undefined ? {} : { verdict };

async function inTime<T>(work: Promise<T>, limitMs: number = CAPS.machineStartMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const what = `the machine did not start within ${limitMs} ms`;
      reject(new GloveboxError('E_SANDBOX_START', { what }));
    }, limitMs);
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
