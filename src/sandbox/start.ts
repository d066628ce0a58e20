import type { AirlockReady, BootSpec, ExecSpec } from '../agent/contract.ts';
import type { Duplex } from 'node:stream';
import { runFinish } from '../agent/finish.ts';
import { locateAgent } from '../agent/locate.ts';
import type { AgentSession } from '../agent/session.ts';
import type { AuditSink } from '../audit/contract.ts';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { relativeInside } from '../base/path-bytes.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../base/paths.ts';
import { Teardown } from '../base/teardown.ts';
import type { ContainmentUsage } from '../drivers/contract.ts';
import { startJail, type Jail, type JailStdio } from '../drivers/bubblewrap/driver.ts';
import { findBubblewrap } from '../drivers/bubblewrap/probe.ts';
import { airlockSpec, bootSpec, type BootInput } from '../drivers/bubblewrap/spec.ts';
import { treeIdentities } from '../drivers/identity.ts';
import { seccompProgram } from '../drivers/seccomp-program.ts';
import type { ConnectionSummary, Gateway, NetworkEvent } from '../gateway/contract.ts';
import { createGateway } from '../gateway/gateway.ts';
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
 * Starts a sandbox: registers it, makes its cgroup, lets the airlock and the jail come up while the record of the start
 * is written, and boots the agent only when that record stands.
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
  const { prepared, dirs } = input;
  const id = newId('sbx');
  const startedAt = Date.now();
  const bubblewrap = findBubblewrap(input.env, prepared.plan.workspace);
  const agent = locateAgent(input.env);
  const registry = new RunRegistry(dirs.state);
  const held = heldPaths(prepared);
  registry.add(id, held);
  teardown.add('registry', () => registry.remove(id));
  const limits = enforceLimits(id, prepared.plan.limits, teardown);
  const gateway = startGateway(input, id, teardown);
  const live: { session?: AgentSession } = {};
  const ports = await publishPorts(input.publish, {
    teardown,
    dial: (port) => dialInside(live.session, port),
  });
  const identities = treeIdentities(prepared.plan);
  const spec = airlockSpec({
    plan: prepared.plan,
    agent,
    bubblewrap,
    scratch: ensurePrivateDir(`${dirs.runtime}/scratch`),
    cgroupProcs: limits.procsPaths,
  });
  const mode = input.exec === undefined ? 'serve' : 'oneshot';
  const recorded = recordStart(input, id);
  recorded.catch(() => undefined);
  const boot = async (ready: AirlockReady): Promise<BootSpec> => {
    await recorded;
    return bootFrame(input, { rlimits: limits.rlimits, placeholders: ready.placeholders, identities });
  };
  const jail = await startJail({ agent, spec, mode, boot, stdio: input.stdio });
  teardown.add('jail', () => endJail(jail));
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
    ...(input.exec === undefined ? {} : { exec: input.exec }),
  });
}

async function dialInside(session: AgentSession | undefined, port: number): Promise<Duplex> {
  if (session === undefined)
    throw new GloveboxError('E_SANDBOX_START', { what: 'the sandbox is still starting' });
  return session.dial(port);
}

/** The caller's callback must not be able to close the gateway or end the process. */
function tell(input: StartInput, event: NetworkEvent): void {
  try {
    input.onNetwork(event);
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error), { type: 'GloveboxCallback' });
  }
}

async function endJail(jail: Jail): Promise<void> {
  jail.kill();
  await jail.exited;
}

function heldPaths(prepared: PreparedPlan): readonly HeldPath[] {
  return prepared.plan.masks.flatMap((mask) =>
    mask.kind === 'placeholder' ? [{ root: mask.root, path: relativeInside(mask.path, mask.root) }] : [],
  );
}

function startGateway(input: StartInput, id: string, teardown: Teardown): Gateway {
  const report = (
    kind: 'network.verdict' | 'network.summary',
    data: NetworkEvent | ConnectionSummary,
  ): void => {
    // The sink keeps a failed write and reports it at the end; the verdict itself has been given.
    input.audit.write({ kind, sandbox: id, data: { ...data } }).catch(() => undefined);
  };
  const gateway = createGateway({
    policy: input.prepared.plan.network.policy,
    onEvent: (event) => {
      report('network.verdict', event);
      tell(input, event);
    },
    onConnection: (summary) => report('network.summary', summary),
  });
  teardown.add('gateway', () => gateway.close());
  return gateway;
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
