import type { BootSpec, ExecSpec } from '../agent/contract.ts';
import type { Duplex } from 'node:stream';
import { runFinish } from '../agent/finish.ts';
import { locateAgent } from '../agent/locate.ts';
import type { AgentSession } from '../agent/session.ts';
import type { AuditSink } from '../audit/contract.ts';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';
import { newId } from '../base/ids.ts';
import { relativeInside } from '../base/path-bytes.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../base/paths.ts';
import { Teardown } from '../base/teardown.ts';
import type { ContainmentUsage, Plan } from '../drivers/contract.ts';
import { spawnJail, type Jail, type JailStdio, type SpawnedJail } from '../drivers/bubblewrap/driver.ts';
import { findBubblewrap } from '../drivers/bubblewrap/probe.ts';
import { airlockSpec, bootSpec, type BootInput } from '../drivers/bubblewrap/spec.ts';
import { treeIdentities } from '../drivers/identity.ts';
import { seccompProgram } from '../drivers/seccomp-program.ts';
import { fillMade } from '../drivers/inspection.ts';
import type { Gateway, GatewayOptions, NetworkEvent } from '../gateway/contract.ts';
import { prepareEgress, type Egress } from './egress.ts';
import { startGateway } from './gateway.ts';
import { GuardWatch } from './guard-watch.ts';
import { enforceLimits, type EnforcedLimits } from './limits.ts';
import type { PreparedPlan } from './prepare.ts';
import { publishPorts, type PublishedPort } from './publish.ts';
import { placeholdersOf, RunRegistry, type HeldPath } from './registry.ts';

export interface StartInput {
  readonly prepared: PreparedPlan;
  readonly policyHash: string;
  readonly dirs: GloveboxDirs;
  readonly env: NodeJS.ProcessEnv;
  readonly audit: AuditSink;
  /** Present: one command, then the end. Absent: a sandbox that serves commands. */
  readonly exec?: ExecSpec;
  readonly stdio: JailStdio;
  /** Ports of the sandbox to open on the host's 127.0.0.1, before anything runs. */
  readonly publish: readonly string[];
  /** A throw is the caller's own and changes nothing here. */
  readonly onNetwork: (event: NetworkEvent) => void;
  /** Asked about hosts that no rule knows, where the policy says `ask`. */
  readonly onAsk?: GatewayOptions['onAsk'];
  /** A budget of the whole network is used up, and as the policy wants it everything inside stands still. */
  readonly onPause?: (reason: string) => void;
  readonly transport?: Pick<GatewayOptions, 'resolver' | 'dialler'>;
}

/** Changes while the sandbox lives. */
export interface GuardState {
  /** The guarded path that was replaced on the host: the sandbox was ended for it. */
  lost: string | undefined;
}

/** A sandbox whose agent has been told what to do. */
export interface StartedSandbox {
  readonly id: string;
  readonly prepared: PreparedPlan;
  readonly session: AgentSession;
  readonly jail: Jail;
  readonly gateway: Gateway;
  readonly egress: Egress;
  readonly registry: RunRegistry;
  readonly guard: GuardState;
  /** Stops the watch over guarded paths: from then on they change by our own hand. */
  readonly stopWatching: () => void;
  readonly held: readonly HeldPath[];
  readonly limits: EnforcedLimits;
  readonly ports: readonly PublishedPort[];
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** Undone last-in first-out when the sandbox ends or its start fails. */
  readonly teardown: Teardown;
  usage(): ContainmentUsage;
}

/**
 * Starts a sandbox: registers it, makes its cgroup, lets the airlock and the jail come up while the gateway is made and
 * the record of the start is written, and boots the agent only when that record stands.
 *
 * @throws E_TIER_UNAVAILABLE, E_LIMIT_UNAVAILABLE, E_AUDIT_UNWRITABLE, E_SANDBOX_START
 */
export async function startSandbox(input: StartInput): Promise<StartedSandbox> {
  const teardown = new Teardown();
  try {
    return await bringUp(input, teardown);
  } catch (error) {
    await teardown.run();
    await releaseHeld(input);
    throw error;
  }
}

/** After a start that failed half-way: the airlock may have made placeholders already. */
async function releaseHeld(input: StartInput): Promise<void> {
  const placeholders = placeholdersOf(heldPaths(input.prepared));
  if (placeholders.length === 0) return;
  // The error of the start is the one to tell; what could not be released, the next run sweeps.
  await runFinish(locateAgent(input.env), { placeholders }).catch(() => undefined);
}

async function bringUp(input: StartInput, teardown: Teardown): Promise<StartedSandbox> {
  const { prepared } = input;
  const id = newId('sbx');
  const startedAt = Date.now();
  const { registry, held, limits } = groundwork(input, id, teardown);
  const identities = treeIdentities(prepared.plan);
  const { credentials } = prepared.policy;
  const { env, audit, dirs } = input;
  const egress = await prepareEgress({ id, plan: prepared.plan, credentials, env, audit, dirs, teardown });
  const live: { session?: AgentSession } = {};
  const dial = (port: number): Promise<Duplex> => dialInside(live.session, port);
  // Before the airlock: a port that is taken must not meet one that is half-way through making its placeholders.
  const ports = await publishPorts(input.publish, { teardown, dial });
  const launched = launch(input, limits, fillMade(prepared.plan, egress.made));
  teardown.add('jail', () => launched.kill());
  // From here on everything overlaps with the airlock's own work.
  const recorded = recordStart(input, id);
  recorded.catch(() => undefined);
  const pause = (): void => live.session?.signalAll(SIGNAL_NUMBERS['SIGSTOP'] ?? 19);
  const gateway = startGateway(input, { id, egress, teardown, pause });
  const jail = await launched.boot(async ({ placeholders }) => {
    const boot = await bootFrame(input, egress, { rlimits: limits.rlimits, placeholders, identities });
    await recorded;
    return boot;
  });
  attachListeners(prepared, gateway, jail);
  const guard: GuardState = { lost: undefined };
  const stopWatching = watchGuards(prepared, jail, guard);
  teardown.add('guard watch', stopWatching);
  const { session } = jail;
  live.session = session;
  teardown.add('session', () => session.destroy());
  return {
    id,
    prepared,
    session,
    jail,
    gateway,
    egress,
    registry,
    guard,
    stopWatching,
    held,
    limits,
    ports,
    startedAt,
    teardown,
    usage: () => limits.usage(),
  };
}

type Groundwork = Pick<StartedSandbox, 'registry' | 'held' | 'limits'>;

/** What has to stand before the first process: the note for whoever sweeps, and the control groups. */
function groundwork(input: StartInput, id: string, teardown: Teardown): Groundwork {
  const registry = new RunRegistry(input.dirs.state);
  const held = heldPaths(input.prepared);
  registry.add(id, held);
  teardown.add('registry', () => registry.remove(id));
  return { registry, held, limits: enforceLimits(id, input.prepared.plan.limits, teardown) };
}

/** `plan` is the one of the input with what was made for this sandbox in it. */
function launch(input: StartInput, limits: EnforcedLimits, plan: Plan): SpawnedJail {
  const agent = locateAgent(input.env);
  const spec = airlockSpec({
    plan,
    agent,
    bubblewrap: findBubblewrap(input.env, plan.workspace),
    scratch: ensurePrivateDir(`${input.dirs.runtime}/scratch`),
    cgroups: limits.joinPaths,
  });
  return spawnJail({ agent, spec, mode: input.exec === undefined ? 'serve' : 'oneshot', stdio: input.stdio });
}

/** Ends the jail when a guarded path is replaced on the host; answers how to stop looking. */
function watchGuards(prepared: PreparedPlan, jail: Jail, guard: GuardState): () => void {
  const watched = new GuardWatch(prepared.plan.masks, (lost) => {
    guard.lost = lost;
    jail.kill();
  });
  return () => watched[Symbol.dispose]();
}

function attachListeners(prepared: PreparedPlan, gateway: Gateway, jail: Jail): void {
  for (const spec of prepared.plan.network.listeners) {
    const handle = jail.listeners.get(spec.id);
    if (typeof handle !== 'object' || handle === null) {
      throw new GloveboxError('E_SANDBOX_START', {
        what: `the airlock handed over no socket for port ${spec.port}`,
      });
    }
    gateway.attach(spec, handle);
  }
}

async function bootFrame(
  input: StartInput,
  egress: Egress,
  facts: Pick<BootInput, 'placeholders' | 'identities'> & Pick<EnforcedLimits, 'rlimits'>,
): Promise<BootSpec> {
  const { plan } = input.prepared;
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const seccomp = await seccompProgram({ arch, ...plan.syscalls });
  return bootSpec({
    plan,
    seccomp,
    limits: facts.rlimits,
    placeholders: facts.placeholders,
    identities: facts.identities,
    ...(input.exec === undefined
      ? {}
      : { exec: { ...input.exec, env: { ...input.exec.env, ...egress.env } } }),
  });
}

async function dialInside(session: AgentSession | undefined, port: number): Promise<Duplex> {
  if (session === undefined)
    throw new GloveboxError('E_SANDBOX_START', { what: 'the sandbox is still starting' });
  return session.dial(port);
}

function heldPaths(prepared: PreparedPlan): readonly HeldPath[] {
  return prepared.plan.masks.flatMap((mask) =>
    mask.kind === 'placeholder' ? [{ root: mask.root, path: relativeInside(mask.path, mask.root) }] : [],
  );
}

async function recordStart(input: StartInput, id: string): Promise<void> {
  const { prepared } = input;
  const { plan } = prepared;
  const started = input.audit.write({
    kind: 'run.start',
    sandbox: id,
    data: {
      policy: input.policyHash,
      plan: prepared.hash,
      tier: plan.tier,
      workspace: plan.workspace,
      pid: process.pid,
    },
  });
  const { exec } = input;
  if (exec === undefined) return started;
  const argv = exec.argv.map((word) =>
    typeof word === 'string' ? word : Buffer.from(word).toString('latin1'),
  );
  await Promise.all([
    started,
    input.audit.write({ kind: 'run.command', sandbox: id, data: { argv, cwd: exec.cwd } }),
  ]);
}

/** Waits for the agent's greeting, and ends the start when it does not come in time. */
export async function awaitHello(sandbox: StartedSandbox): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new GloveboxError('E_SANDBOX_START', { what: `the sandbox did not start within ${CAPS.startMs} ms` }),
      );
    }, CAPS.startMs);
  });
  try {
    await Promise.race([sandbox.session.hello, late]);
  } finally {
    clearTimeout(timer);
  }
}
