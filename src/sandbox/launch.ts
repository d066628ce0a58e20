import type { Server } from 'node:net';
import { locateAgent } from '../agent/locate.ts';
import { GloveboxError } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import type { Teardown } from '../base/teardown.ts';
import { spawnJail, type Jail, type MakeBootInput, type SpawnedJail } from '../drivers/bubblewrap/driver.ts';
import { findBubblewrap } from '../drivers/bubblewrap/probe.ts';
import { engineOf } from '../drivers/choose.ts';
import type { MadeContent, Plan } from '../drivers/contract.ts';
import type { EngineName } from '../drivers/docker/index.ts';
import { fillMade, RELAY_PATH } from '../drivers/inspection.ts';
import type { Gateway } from '../gateway/contract.ts';
import type { EnforcedLimits } from './limits.ts';
import { socketPath } from './socket-files.ts';
import type { ReviewCopy } from './review-copy.ts';
import type { LentAgent } from './ssh-agent.ts';
import type { StartInput } from './start.ts';

export interface LaunchInput {
  readonly id: string;
  readonly start: StartInput;
  readonly limits: EnforcedLimits;
  /** What the plan's made mounts hold. */
  readonly made: ReadonlyMap<string, MadeContent>;
  readonly sshAgent: LentAgent | undefined;
  readonly review: ReviewCopy | undefined;
  readonly teardown: Teardown;
}

/** A sandbox of any tier that is coming up. */
export interface Launched extends Pick<SpawnedJail, 'kill'> {
  /** As `SpawnedJail.boot`; what the sandbox's programs connect to is the gateway's then. */
  boot(gateway: Gateway, make: MakeBootInput): Promise<Jail>;
}

/** Starts the plan's tier. @throws E_TIER_UNAVAILABLE */
export async function launch(input: LaunchInput): Promise<Launched> {
  const { plan } = input.start.prepared;
  if (input.start.warmUp !== undefined) refuseCold(plan);
  if (plan.driver === 'firecracker')
    return (await import('./launch-firecracker.ts')).launchFirecracker(input);
  if (plan.tier === 'vm' || plan.tier === 'vm+gvisor')
    return (await import('./launch-machine.ts')).launchMachine(input);
  if (plan.tier !== 'container') return launchProcess(input);
  const engine = engineOf(plan);
  return engine === undefined ? launchContainer(input) : launchEngine(input, engine);
}

/** Only what goes on from a template is warmed up. @throws E_UNSUPPORTED */
function refuseCold({ tier, driver }: Plan): void {
  if (tier === 'vm' && driver === 'qemu') return;
  throw new GloveboxError('E_UNSUPPORTED', {
    what: `a sandbox of tier ${tier} with driver ${driver} is not warmed up`,
    why: 'it goes on from no template',
    next: 'Leave `warmUp` out, or create it with `tier: "vm"` and the driver `qemu`.',
  });
}

function launchProcess(input: LaunchInput): Launched {
  const { plan } = input.start.prepared;
  const jail = spawnJail({
    ...jailInput(input, fillMade(plan, input.made)),
    stdio: input.start.stdio,
  });
  const boot: Launched['boot'] = async (gateway, make) => {
    const booted = await jail.boot(make);
    attachListeners(plan, gateway, booted.listeners);
    return booted;
  };
  return { boot, kill: () => jail.kill() };
}

async function launchContainer(input: LaunchInput): Promise<Launched> {
  const { start, limits } = input;
  const { plan } = start.prepared;
  const { choosePlatform, filesLimit, findRunsc, spawnContainer } =
    await import('../drivers/gvisor/index.ts');
  const runsc = findRunsc(start.env, plan.workspace);
  const host = jailInput(input, plan);
  const platform = await choosePlatform({ ...host, runsc, env: start.env, cacheDir: start.dirs.cache });
  const relay = await openRelay(input);
  const made = new Map([...input.made, [RELAY_PATH, { source: relay.path }] as const]);
  const jail = spawnContainer({
    ...host,
    plan: fillMade(plan, made),
    runsc,
    platform,
    files: filesLimit(limits.rlimits),
    limitsHit: () => limits.usage().hit,
  });
  const boot: Launched['boot'] = (gateway, make) => {
    // The guest's agent connects before it says hello.
    gateway.attachRelay(plan.network.listeners, relay.server);
    return jail.boot(make);
  };
  return { boot, kill: () => jail.kill() };
}

async function launchEngine(input: LaunchInput, engine: EngineName): Promise<Launched> {
  const { id, start, limits } = input;
  const { plan } = start.prepared;
  const { findEngine, spawnEngine } = await import('../drivers/docker/index.ts');
  const { filesLimit } = await import('../drivers/gvisor/index.ts');
  const client = findEngine(engine, start.env, plan.workspace);
  const relay = await openRelay(input);
  const made = new Map([...input.made, [RELAY_PATH, { source: relay.path }] as const]);
  const { GLOVEBOX_ENGINE_RUNTIME: runtime, GLOVEBOX_ENGINE_APPARMOR: apparmor } = start.env;
  const jail = spawnEngine({
    client,
    id,
    plan: fillMade(plan, made),
    agent: locateAgent(start.env),
    mode: start.exec === undefined ? 'serve' : 'oneshot',
    scratch: ensurePrivateDir(`${start.dirs.runtime}/scratch`),
    directory: `${start.dirs.runtime}/engine`,
    files: filesLimit(limits.rlimits),
    ...(runtime === undefined || runtime === '' ? {} : { runtime }),
    ...(apparmor === undefined || apparmor === '' ? {} : { apparmor }),
  });
  const boot: Launched['boot'] = (gateway, make) => {
    gateway.attachRelay(plan.network.listeners, relay.server);
    return jail.boot(make);
  };
  return { boot, kill: () => jail.kill() };
}

function jailInput(
  { start, limits }: LaunchInput,
  plan: Plan,
): Omit<Parameters<typeof spawnJail>[0], 'stdio'> {
  return {
    plan,
    agent: locateAgent(start.env),
    bubblewrap: findBubblewrap(start.env, plan.workspace),
    scratch: ensurePrivateDir(`${start.dirs.runtime}/scratch`),
    cgroups: limits.joinPaths,
    mode: start.exec === undefined ? 'serve' : 'oneshot',
  };
}

function attachListeners(plan: Plan, gateway: Gateway, listeners: Jail['listeners']): void {
  for (const spec of plan.network.listeners) {
    const handle = listeners.get(spec.id);
    if (typeof handle !== 'object' || handle === null) {
      throw new GloveboxError('E_SANDBOX_START', {
        what: `the airlock handed over no socket for port ${spec.port}`,
      });
    }
    gateway.attach(spec, handle);
  }
}

/** The socket that only this sandbox's guest will reach. */
async function openRelay({
  id,
  start,
  teardown,
}: LaunchInput): Promise<{ readonly path: string; readonly server: Server }> {
  const { createRelayServer } = await import('../gateway/relay.ts');
  const path = await socketPath(start.dirs, 'relays', id);
  const server = createRelayServer();
  teardown.add('relay', () => void server.close());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  return { path, server };
}
