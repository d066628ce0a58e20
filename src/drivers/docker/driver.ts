import type { ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Duplex } from 'node:stream';
import { spawnAirlock, type JailExit, type SpawnedAirlock } from '../../agent/airlock.ts';
import { encodeBootSpec } from '../../agent/boot.ts';
import type { AirlockReady, BootSpec } from '../../agent/contract.ts';
import { AgentSession } from '../../agent/session.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { collectComplaint, type Jail, type MakeBootInput, type SpawnedJail } from '../bubblewrap/driver.ts';
import type { Plan } from '../contract.ts';
import { identityOf } from '../identity.ts';
import { readHardLimits, RLIMIT, UNLIMITED } from '../limits/rlimits.ts';
import { containerName, isGuestKernel, runArgs } from './args.ts';
import { engineBoot, holderSpec, needsPlaceholders } from './boot.ts';
import { ask, lastLine, startClient, watchOver, type EngineClient } from './client.ts';
import { hintFor } from './hints.ts';
import { maskMounts, type MaskMount } from './masks.ts';
import { removePrivate } from './ownership.ts';
import { prepareEngine, privateDirectory, typeOf, type PreparedEngine } from './prepare.ts';
import { ContainerUsage } from './usage.ts';

export interface EngineLaunch {
  readonly client: EngineClient;
  readonly id: string;
  readonly plan: Plan;
  /** The agent binary on the host. */
  readonly agent: string;
  readonly mode: BootSpec['mode'];
  /** Directory the airlock mounts its private files on. */
  readonly scratch: string;
  /** Where private directories stand. */
  readonly directory: string;
  /** Most descriptors of a process inside. */
  readonly files: number;
  /** As in `EngineInput`. */
  readonly runtime?: string;
  readonly apparmor?: string;
}

/**
 * Starts a container whose first process is our agent, on the container's standard input and output. When this process dies, its end of
 * both closes, the agent ends every process, and the engine removes the container.
 */
export function spawnEngine(input: EngineLaunch): SpawnedJail {
  const prepared = prepareEngine(input);
  prepared.catch(() => undefined);
  const holder = needsPlaceholders(input.plan) ? spawnHolder(input) : undefined;
  const own: Owned = { input, ...(holder === undefined ? {} : { holder }) };
  const started: { container?: Container } = {};
  return {
    boot: async (make) => {
      started.container = await startContainer(own, await prepared, make);
      return bootContainer(started.container);
    },
    kill: async () => {
      started.container?.kill();
      await started.container?.exited;
      await prepared.catch(() => undefined);
      await release(own);
    },
  };
}

/** What a container leaves on the host. */
interface Owned {
  readonly input: EngineLaunch;
  readonly holder?: SpawnedAirlock;
}

async function release({ input, holder }: Owned): Promise<void> {
  await holder?.kill();
  removePrivate(privateDirectory(input));
}

/** Lives as long as its standard input is open. */
const HOLDER_PROGRAMS = ['/usr/bin/cat', '/bin/cat'];

function spawnHolder({ plan, agent, scratch }: EngineLaunch): SpawnedAirlock {
  const program = HOLDER_PROGRAMS.find((name) => existsSync(name)) ?? '/bin/cat';
  return spawnAirlock({
    agent,
    spec: holderSpec(plan, { scratch, program }),
    mode: 'serve',
    stdio: ['pipe', 'ignore', 'ignore'],
  });
}

const NO_PLACEHOLDERS: AirlockReady = { ipv6: true, placeholders: new Map() };

/** A container whose agent has been told what to do. */
interface Container extends Pick<Jail, 'session' | 'complaint' | 'exited' | 'kill'> {
  readonly client: EngineClient;
  readonly name: string;
  readonly child: ChildProcess;
  readonly usage: ContainerUsage;
  /** Set when the engine has said that it knows no such container any more. */
  readonly state: { gone: boolean };
}

async function startContainer(own: Owned, prepared: PreparedEngine, make: MakeBootInput): Promise<Container> {
  const { input, holder } = own;
  const { plan, mode, runtime } = input;
  let ready = NO_PLACEHOLDERS;
  await holder?.boot((standing) => {
    ready = standing;
    return { mode: 'serve' };
  });
  const boot = await make(ready);
  const masks = maskMounts({ plan, placeholders: ready.placeholders, own: prepared.own, typeOf });
  const guestKernel = isGuestKernel(runtime);
  const spec = engineBoot(boot, { masks, identities: identities(prepared, masks), guestKernel });
  const child = startClient(input.client, commandLine(input, prepared, masks));
  const container = watchContainer(own, child, mode);
  // It waits in the engine until the agent reads it.
  child.stdin?.write(encodeBootSpec(spec));
  return container;
}

function commandLine(
  input: EngineLaunch,
  { facts, view, image, seccomp, cidfile, labels }: PreparedEngine,
  masks: readonly MaskMount[],
): readonly string[] {
  const { client, plan, id, agent, files, runtime, apparmor } = input;
  const user = facts.rootless
    ? { uid: 0, gid: 0 }
    : { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  return runArgs({
    engine: client.engine,
    plan,
    id,
    image,
    agent,
    files,
    user,
    seccomp,
    cidfile,
    labels,
    mounts: [...view.mounts, ...masks.map(({ mount }) => mount)],
    remapped: facts.remapped,
    cpus: availableParallelism(),
    ownProcesses: hardProcesses(),
    ...(runtime === undefined ? {} : { runtime }),
    ...(apparmor === undefined ? {} : { apparmor }),
  });
}

/** Podman lowers its own limit to the greatest number that the kernel gives to a process. */
function hardProcesses(): number {
  const most = readHardLimits().get(RLIMIT.NPROC) ?? UNLIMITED;
  const numbers = BigInt(readFileSync('/proc/sys/kernel/pid_max', 'utf8').trim());
  return Number(most < numbers ? most : numbers);
}

/** Which thing each bind is, besides those that a mask stands over and those that are ours alone. */
function identities(
  { view, own }: PreparedEngine,
  masks: readonly MaskMount[],
): ReturnType<typeof identityOf>[] {
  const covered = new Set(masks.map(({ mount }) => mount.target));
  const trees = view.mounts.filter(({ target }) => !covered.has(target));
  return [...trees, ...masks.map(({ mount }) => mount)].flatMap((mount) =>
    mount.kind === 'bind' && !mount.source.startsWith(`${own}/`)
      ? [identityOf(mount.source, mount.target)]
      : [],
  );
}

function watchContainer(own: Owned, child: ChildProcess, mode: BootSpec['mode']): Container {
  const { client, id } = own.input;
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null)
    throw new GloveboxError('E_INTERNAL', { what: 'the client of the engine has no channel' });
  stdin.on('error', () => undefined);
  const session = new AgentSession(Duplex.from({ writable: stdin, readable: stdout }), {
    airlock: false,
    oneshot: mode === 'oneshot',
  });
  const name = containerName(id);
  const usage = new ContainerUsage(client, name);
  const state = { gone: false };
  const removal = new Removal(client, name);
  if (mode === 'oneshot') {
    void endAfter(session, usage, () => {
      stdin.end();
      // Podman keeps the agent's input open, so that it would never leave.
      if (client.engine === 'podman') removal.start();
    });
  }
  return {
    client,
    name,
    child,
    session,
    usage,
    state,
    complaint: collectComplaint(child),
    exited: endOf(own, child, { state, removal, dismiss: watchOver(client, name) }),
    kill: () => {
      usage.read();
      stdin.destroy();
      if (!state.gone) removal.start();
    },
  };
}

/** Asks the engine once to end a container, whoever wants it to end, so that no client outlives this process. */
class Removal {
  readonly #client: EngineClient;
  readonly #name: string;
  #asked: Promise<unknown> | undefined;

  constructor(client: EngineClient, name: string) {
    this.#client = client;
    this.#name = name;
  }

  start(): void {
    this.#asked ??= ask(this.#client, ['rm', '--force', '--volumes', this.#name]);
  }

  /** Resolves when the engine has answered, at once where it was not asked. */
  get done(): Promise<unknown> {
    return this.#asked ?? Promise.resolve();
  }
}

/** The agent stays until its standard input ends: so that what was used can be read while there is something to read. */
async function endAfter(session: AgentSession, usage: ContainerUsage, end: () => void): Promise<void> {
  try {
    await session.main.exit;
    await usage.known;
    usage.read();
  } catch {
    // Lost: whoever waits for the command is told.
  }
  end();
}

/** The engine's client ends with the container. Whether that is gone the engine is asked again. */
async function endOf(
  own: Owned,
  child: ChildProcess,
  {
    state,
    removal,
    dismiss,
  }: Pick<Container, 'state'> & {
    readonly removal: Removal;
    readonly dismiss: () => void;
  },
): Promise<JailExit> {
  const exit = await new Promise<JailExit>((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  await removal.done;
  state.gone = await removed(own.input);
  dismiss();
  await release(own);
  return exit;
}

async function removed({ client, id }: EngineLaunch): Promise<boolean> {
  const name = containerName(id);
  const isGone = async (): Promise<boolean> => {
    const { code, err } = await ask(client, ['container', 'inspect', '--format', '{{.Id}}', name]);
    return code !== 0 && /no such container|no container with name/i.test(err);
  };
  if (await isGone()) return true;
  await ask(client, ['rm', '--force', '--volumes', name]);
  return isGone();
}

/** @throws E_SANDBOX_START, E_MASK_LOST, E_PROTOCOL; nothing is left running then */
async function bootContainer(container: Container): Promise<Jail> {
  const { session, child, name, state, usage } = container;
  await agentUp(container);
  void usage.look();
  return {
    session,
    pid: child.pid,
    listeners: new Map(),
    exited: container.exited,
    complaint: container.complaint,
    kill: container.kill,
    measured: usage,
    outside: [{ kind: 'container', name, present: () => !state.gone }],
  };
}

async function agentUp(container: Container): Promise<void> {
  const { session, child, complaint, exited, kill } = container;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const what = `the container did not start within ${CAPS.startMs} ms`;
      reject(new GloveboxError('E_SANDBOX_START', { what }));
    }, CAPS.startMs);
  });
  try {
    await Promise.race([session.hello, late]);
  } catch (error) {
    // Said by the agent, which is told as in the other tiers: with a record of the end.
    if (isGloveboxError(error) && error.code === 'E_MASK_LOST') return;
    if (child.exitCode === null) kill();
    await exited;
    throw startError(error, lastLine(complaint()), container.client);
  } finally {
    clearTimeout(timer);
  }
}

/** What the engine said is the better reason. */
function startError(error: unknown, complaint: string, client: EngineClient): unknown {
  if (complaint === '' || !isGloveboxError(error) || error.why !== undefined) return error;
  const next = hintFor(client, complaint);
  return new GloveboxError('E_SANDBOX_START', {
    what: error.what,
    why: complaint,
    ...(next === undefined ? {} : { next }),
    cause: error,
  });
}
