import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { spawnAirlock, type Airlock, type JailExit } from '../../agent/airlock.ts';
import { encodeBootSpec } from '../../agent/boot.ts';
import type { BootSpec } from '../../agent/contract.ts';
import { encodeAdoption } from '../../agent/keeper.ts';
import { encodeMachineSpec, machineReady } from '../../agent/machine.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import { within } from '../../base/within.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { HeldMachine, Jail, MakeBootInput, SpawnedJail } from '../bubblewrap/driver.ts';
import { assemble } from '../bubblewrap/assembly.ts';
import { bootSpec, type AirlockInput, type BootInput } from '../bubblewrap/spec.ts';
import { guestBoot } from '../gvisor/boot.ts';
import { bootTwice } from './again.ts';
import {
  machineJailArgs,
  qemuArgs,
  type FileServer,
  type MachineInput,
  type MachineJailInput,
} from './args.ts';
import { attend, type Attended } from './attend.ts';
import { innerBoot, machineBoot, machineCopy, machineSpec, RELAY_PORT } from './boot.ts';
import { ConsoleTail } from './console.ts';
import { openControl, type Accepting, type Control } from './control.ts';
import { openFiles, type CopiedTrees } from './copied.ts';
import { orViolation } from './crash.ts';
import { machineLayout, PLACES } from './layout.ts';
import { MachineHold } from './hold.ts';
import { goOn, goOnStopped } from './migrate.ts';
import { runtimeBoot, type Nested } from './nested.ts';
import { serverOf, spawnShare, type Share, type ShareInput } from './share.ts';
import { memoryEnd, type MachineTemplate } from './template.ts';

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
  /** Trees of the plan that no file server serves. */
  readonly copiedTrees?: CopiedTrees;
  /** gVisor in the machine, for tier vm+gvisor. */
  readonly nested?: Nested;
  /** It goes on from there; absent: it boots. */
  readonly template?: MachineTemplate;
  /** Rather from there, where the plan's sandbox stands already. */
  readonly planTemplate?: MachineTemplate;
  /** Told in a line when it was booted twice. */
  readonly notice: (line: string) => void;
}

/** The listener of the relay, among those of the jail. */
export const RELAY_LISTENER = 1;

/** Told of the airlock's sockets before anything of the guest's runs; once more, of others, when a machine is booted twice. */
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
  const { planTemplate } = input;
  let machine = spawnOnce(planTemplate === undefined ? input : { ...input, template: planTemplate });
  let boots = 0;
  return {
    boot: (make, onListeners) =>
      bootTwice(
        () => {
          if (boots++ > 0) {
            forgetSockets(input.sockets);
            machine = spawnOnce(input);
          }
          return machine.boot(make, onListeners);
        },
        { notice: input.notice, isCopy: planTemplate !== undefined },
      ),
    kill: () => machine.kill(),
  };
}

/** Those of servers that are gone would be taken for those of the next. */
function forgetSockets(directory: string): void {
  for (const name of readdirSync(directory)) rmSync(path.join(directory, name));
}

function spawnOnce(input: MachineLaunch): SpawnedMachine {
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
  const { plan, copiedTrees } = input;
  const served = input.disk === undefined;
  const { base, view } = machineLayout(plan, { copied: copiedTrees?.targets, served });
  const succeeds = input.template?.live === true;
  const wanted: readonly Pick<ShareInput, 'name' | 'mounts' | 'masks' | 'reopens' | 'assembly'>[] = [
    { name: 'base', mounts: base, masks: [], assembly: assemble(plan) },
    { name: 'view', mounts: view, masks: plan.masks, reopens: input.nested !== undefined },
  ];
  return wanted
    .filter(({ mounts }) => mounts.length > 0)
    .map((one) => spawnShare({ ...input, ...one, server: serverOf(input.server), succeeds }));
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
  const files = await openFiles(input.sockets, input.copiedTrees !== undefined);
  const airlock = await boot(async (ready) => {
    if (made.input === undefined) await prepared(ready);
    return machineBoot(input.arch, qemuArgv(input, shares));
  }).catch((error: unknown) => {
    control.close();
    files?.close();
    throw error;
  });
  onListeners(airlock.listeners);
  const [, channel] = airlock.child.stdio;
  if (!(channel instanceof Duplex) || made.input === undefined)
    throw new GloveboxError('E_INTERNAL', { what: 'the machine has no channel for its guest' });
  const tail = new ConsoleTail(airlock.child.stderr);
  return connect({ input, airlock, channel, control, files, tail, shares }, made.input);
}

function qemuArgv(input: MachineLaunch, shares: readonly Share[]): readonly string[] {
  const { template } = input;
  return qemuArgs({
    ...input,
    shares: shares.map((share) => share.name),
    disk: input.disk !== undefined,
    files: input.copiedTrees !== undefined,
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
  readonly files: Accepting | undefined;
  readonly tail: ConsoleTail;
  readonly shares: readonly Share[];
}

async function connect(machine: Booted, boot: BootInput): Promise<Jail> {
  const { input, airlock, channel, tail, shares } = machine;
  const exited = partedOf(machine);
  return attend({
    hypervisor: 'QEMU',
    child: airlock.child,
    exited,
    tail,
    listeners: airlock.listeners,
    outside: outsideOf(machine),
    oneshot: input.mode === 'oneshot',
    ...(input.copiedTrees === undefined ? {} : { leaving: input.copiedTrees.leaving }),
    limitsHit: input.limitsHit,
    ...(input.nested === undefined ? {} : { helloMs: CAPS.nestedStartMs }),
    comesUp: async (dead) => {
      await comesUp(machine, dead);
      return channel;
    },
    tell: async () => {
      await tell(machine, boot);
      await sendTrees(machine);
    },
    watch: (end) => {
      for (const share of shares) void watchServer(share, { exited, end });
    },
    hold: (parts) => holdOf(machine, parts),
  });
}

/** What keeps a machine from being copied; undefined: nothing. */
function uncopiedOf({ input, shares }: Booted): string | undefined {
  const { nested, copiedTrees, template } = input;
  if (nested !== undefined)
    return "gVisor's kernel has numbers and names of its own in the machine, which nobody renews";
  if (copiedTrees !== undefined) return 'its workspace is in its memory, and one copy of it comes back';
  if (memoryKind(shares) === 'private') return 'its memory is that of its template, but for what it changed';
  return template === undefined ? 'it was booted, and is not a clone of a template' : undefined;
}

function holdOf(machine: Booted, { session, watchdog }: Attended): HeldMachine {
  const { input, airlock, control } = machine;
  const { agent, sockets, memoryBytes } = input;
  const { pid } = airlock.child;
  const source = { agent, pid, sockets, memoryBytes, control };
  const held = (still: boolean): void => (still ? watchdog.pause() : watchdog.resume());
  const hold = new MachineHold({ ...source, session, held });
  const uncopied = uncopiedOf(machine);
  const orders = { pause: () => hold.pause(), resume: () => hold.resume() };
  return uncopied === undefined ? { ...orders, copy: (file) => hold.copy(file) } : { ...orders, uncopied };
}

/** Its end, and then that of what it alone used. */
async function partedOf({ airlock, control, files, shares }: Booted): Promise<JailExit> {
  try {
    return await endOf(airlock);
  } finally {
    control.close();
    files?.close();
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

/** What of the host a machine has besides its processes. */
function outsideOf({ input, shares }: Booted): NonNullable<Jail['outside']> {
  const { sockets } = input;
  const directory = { kind: 'directory', name: sockets, present: () => existsSync(sockets) } as const;
  return [...shares.flatMap((share) => share.outside()), directory];
}

/** What makes the machine this sandbox's. A copy's processes wait for it, and then its agent for us. */
async function tell({ input, channel, shares, control }: Booted, boot: BootInput): Promise<void> {
  if (input.template?.live === true) {
    const thawed = (await control.keeper).thaw(machineCopy(input.plan, input.template));
    // Its agent reads it when it runs again.
    channel.write(encodeAdoption());
    await thawed;
    return;
  }
  const names = shares.map((share) => share.name);
  channel.write(encodeMachineSpec(machineSpec(input.plan, names, input.nested, input.copiedTrees)));
  for (const spec of await bootsOf(input, boot)) channel.write(encodeBootSpec(spec));
}

/** The sandbox begins when the machine has them. */
async function sendTrees({ input, files }: Booted): Promise<void> {
  if (files !== undefined) await input.copiedTrees?.start(await files.socket);
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
  if (input.template === undefined) {
    await machineReady(channel).catch((error: unknown) => orViolation(error, dead));
    return (await control.client).open();
  }
  try {
    const client = await control.client;
    await client.open();
    const begin = input.template.live === true ? goOnStopped : goOn;
    await begin(client, PLACES.template, memoryEnd(input));
  } catch (error) {
    tail.note(error instanceof Error ? error.message : String(error));
    airlock.child.kill('SIGKILL');
    return dead;
  }
}

/** Between the ends of a machine and of its file server. */
const PARTING_MS = 500;

/** The jail's channel closes with the last process of its pid namespace. */
async function endOf({ exited, session }: Airlock): Promise<JailExit> {
  const [exit] = await Promise.all([exited, session.closed]);
  return exit;
}
