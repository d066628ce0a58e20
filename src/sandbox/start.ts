import type { ExecSpec } from '../agent/contract.ts';
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
import type { GloveboxDirs } from '../base/paths.ts';
import { processIdentity } from '../base/process-identity.ts';
import { Teardown } from '../base/teardown.ts';
import { inTime } from '../base/within.ts';
import { engineOf } from '../drivers/choose.ts';
import type { ContainmentUsage } from '../drivers/contract.ts';
import type { Jail, JailStdio } from '../drivers/bubblewrap/driver.ts';
import type { BootInput } from '../drivers/bubblewrap/spec.ts';
import { treeIdentities } from '../drivers/identity.ts';
import { seccompProgram } from '../drivers/seccomp-program.ts';
import type { Gateway, GatewayOptions, NetworkEvent } from '../gateway/contract.ts';
import { prepareEgress, type Egress } from './egress.ts';
import type { ForkOrigin } from './fork.ts';
import { RootStores } from './root-stores.ts';
import { startGateway } from './gateway.ts';
import { GuardWatch } from './guard-watch.ts';
import { launch } from './launch.ts';
import { enforceLimits, engineLimits, type EnforcedLimits } from './limits.ts';
import type { PreparedPlan } from './prepare.ts';
import { publishPorts, type PublishedPort } from './publish.ts';
import { Inventory } from './receipt.ts';
import { placeholdersOf, RunRegistry, type HeldPath } from './registry.ts';
import type { ReviewCopy } from './review-copy.ts';
import { removeTemporary } from './sweep.ts';

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
  /** A directory that was made for this sandbox and goes with it. */
  readonly temporary?: string;
  /** What is run in the machine that later ones of the plan go on from. */
  readonly warmUp?: readonly string[];
  /** It is a copy of another one. */
  readonly origin?: ForkOrigin;
  /** Shared by sandboxes of one owner; one of its own by default. */
  readonly roots?: RootStores;
}

/** Changes while the sandbox lives. */
export interface GuardState {
  /** The guarded path that was replaced on the host: the sandbox was ended for it. */
  lost: string | undefined;
}

/** Changes while the sandbox lives. */
export interface NetworkState {
  /** Its rules or credentials may be others than it was started with. */
  changed: boolean;
}

/** A sandbox whose agent has been told what to do. */
export interface StartedSandbox {
  readonly id: string;
  readonly prepared: PreparedPlan;
  readonly policyHash: string;
  readonly session: AgentSession;
  readonly jail: Jail;
  readonly network: NetworkState;
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
  /** What it has outside of itself. */
  readonly inventory: Inventory;
  /** The copy that stands for the workspace inside. */
  readonly review?: ReviewCopy;
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
  const begun: Begun = {};
  try {
    return await bringUp(input, teardown, begun);
  } catch (error) {
    await teardown.run();
    await releaseHeld(input);
    await recordAborted(input, begun);
    throw error;
  }
}

/** What a start has done that is not undone. */
interface Begun {
  start?: {
    readonly id: string;
    readonly recorded: Promise<void>;
    readonly startedAt: number;
    readonly inventory: Inventory;
  };
}

/** Whose start is recorded, its end is. Where the sandbox's own files refuse it, that is after the record of the start. */
async function recordAborted({ audit }: StartInput, { start }: Begun): Promise<void> {
  if (start === undefined) return;
  const isRecorded = await start.recorded.then(
    () => true,
    () => false,
  );
  if (!isRecorded) return;
  const { items } = start.inventory.receipt();
  const left = items.filter((item) => !item.gone).map(({ kind, name }) => ({ kind, name }));
  const durationMs = Date.now() - start.startedAt;
  const gone = items.length - left.length;
  // Nothing of the user's ran, so nothing was used and nobody connected.
  const network = { connections: 0, upBytes: 0, downBytes: 0, denied: 0 };
  const data = { cause: 'lost', durationMs, network, left, gone, usage: {} };
  // The error of the start is the one to tell.
  await audit.write({ kind: 'run.end', sandbox: start.id, data }).catch(() => undefined);
}

/** After a start that failed half-way: the airlock may have made placeholders already. */
async function releaseHeld(input: StartInput): Promise<void> {
  const placeholders = placeholdersOf(heldPaths(input.prepared));
  if (placeholders.length === 0) return;
  // The error of the start is the one to tell; what could not be released, the next run sweeps.
  await runFinish(locateAgent(input.env), { placeholders }).catch(() => undefined);
}

function egressOf(input: StartInput, id: string, teardown: Teardown): Promise<Egress> {
  const { prepared, env, audit, dirs, origin, roots = new RootStores() } = input;
  const { credentials } = prepared.policy;
  const authority = origin?.authority === undefined ? {} : { authority: origin.authority };
  const { plan } = prepared;
  return prepareEgress({ id, plan, credentials, env, roots, audit, dirs, teardown, ...authority });
}

/** In mode review: the copy of the workspace, which is there before anything runs. */
async function copyOf(
  { prepared, dirs }: StartInput,
  made: { readonly teardown: Teardown; readonly inventory: Inventory },
): Promise<ReviewCopy | undefined> {
  if (prepared.review === undefined) return undefined;
  const { ReviewCopy } = await import('./review-copy.ts');
  return ReviewCopy.make(prepared.review, { dirs, ...made });
}

async function holdImage({ prepared, dirs }: StartInput, id: string, teardown: Teardown): Promise<void> {
  if (prepared.image === undefined) return;
  const { holdBase } = await import('./base.ts');
  await holdBase(prepared.image, { id, dirs, teardown });
}

async function bringUp(given: StartInput, teardown: Teardown, begun: Begun): Promise<StartedSandbox> {
  const id = newId('sbx');
  const startedAt = Date.now();
  const inventory = new Inventory();
  const { registry, held, limits } = groundwork(given, { id, teardown, inventory });
  const review = await copyOf(given, { teardown, inventory });
  const input = review === undefined ? given : { ...given, prepared: review.placeIn(given.prepared) };
  const { prepared } = input;
  await holdImage(input, id, teardown);
  const identities = treeIdentities(prepared.plan);
  const egress = await egressOf(input, id, teardown);
  const live: { session?: AgentSession } = {};
  const dial = (port: number): Promise<Duplex> => dialInside(live.session, port);
  // Before the airlock: a port that is taken must not meet one that is half-way through making its placeholders.
  const ports = await publishPorts(input.publish, { teardown, dial });
  const { made, agent: sshAgent } = egress;
  const launched = await launch({ id, start: input, limits, made, sshAgent, review, teardown });
  teardown.add('jail', () => launched.kill());
  // From here on everything overlaps with the airlock's own work.
  const recorded = recordStart(input, id);
  recorded.catch(() => undefined);
  begun.start = { id, recorded, startedAt, inventory };
  const pause = (): void => live.session?.signalAll(SIGNAL_NUMBERS['SIGSTOP'] ?? 19);
  const gateway = startGateway(input, { id, egress, teardown, pause });
  const jail = await launched.boot(gateway, async ({ placeholders }) => {
    const boot = await bootInput(input, egress, { rlimits: limits.rlimits, placeholders, identities });
    await recorded;
    return boot;
  });
  if (jail.pid !== undefined) inventory.process(processIdentity(jail.pid));
  inventory.driven(jail.outside);
  limits.watch({ pid: jail.pid, session: jail.session, kill: () => launched.kill() });
  const measured = measuredBy(limits, jail);
  const guard: GuardState = { lost: undefined };
  const stopWatching = watchGuards(prepared, jail, guard);
  teardown.add('guard watch', stopWatching);
  const session = (live.session = jail.session);
  teardown.add('session', () => session.destroy());
  return {
    id,
    prepared,
    policyHash: given.policyHash,
    session,
    jail,
    network: { changed: false },
    gateway,
    egress,
    registry,
    guard,
    stopWatching,
    held,
    limits: measured,
    ports,
    startedAt,
    teardown,
    inventory,
    ...(review === undefined ? {} : { review }),
    usage: () => measured.usage(),
  };
}

/** An engine's container is counted by its driver; what a machine's kernel does, by the machine. */
function measuredBy(limits: EnforcedLimits, jail: Jail): EnforcedLimits {
  const { measured } = jail;
  if (jail.hit !== undefined) {
    const usage = (): ContainmentUsage => {
      const seen = limits.usage();
      return { ...seen, hit: [...new Set([...seen.hit, ...(jail.hit?.() ?? [])])] };
    };
    return { ...limits, usage };
  }
  if (measured === undefined) return limits;
  return { ...limits, usage: () => measured.usage(), current: () => measured.current() };
}

type Groundwork = Pick<StartedSandbox, 'registry' | 'held' | 'limits'>;

/** What has to stand before the first process: the note for whoever sweeps, and the control groups. */
function groundwork(
  { dirs, prepared, temporary }: StartInput,
  made: { readonly id: string; readonly teardown: Teardown; readonly inventory: Inventory },
): Groundwork {
  const { id, teardown, inventory } = made;
  const registry = new RunRegistry(dirs.state);
  const held = heldPaths(prepared);
  inventory.path('entry', registry.add(id, held));
  teardown.add('registry', () => registry.remove(id));
  if (temporary !== undefined) {
    inventory.path('directory', temporary);
    teardown.add('temporary workspace', () => removeTemporary(temporary, dirs));
  }
  const engine = engineOf(prepared.plan);
  const limits =
    engine === undefined ? enforceLimits(id, prepared.plan, teardown) : engineLimits(prepared.plan, engine);
  for (const group of limits.groups) inventory.path('cgroup', group);
  return { registry, held, limits };
}

/** Ends the jail when a guarded path is replaced on the host; answers how to stop looking. */
function watchGuards(prepared: PreparedPlan, jail: Jail, guard: GuardState): () => void {
  const watched = new GuardWatch(prepared.plan.masks, (lost) => {
    guard.lost = lost;
    jail.kill();
  });
  return () => watched[Symbol.dispose]();
}

async function bootInput(
  input: StartInput,
  egress: Egress,
  facts: Pick<BootInput, 'placeholders' | 'identities'> & Pick<EnforcedLimits, 'rlimits'>,
): Promise<BootInput> {
  const { plan } = input.prepared;
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const inGuest = plan.tier === 'container' || plan.tier === 'vm+gvisor';
  const guest = inGuest ? { place: 'guest' as const } : {};
  const seccomp = await seccompProgram({ arch, ...plan.syscalls, ...guest });
  return {
    plan,
    seccomp,
    limits: facts.rlimits,
    placeholders: facts.placeholders,
    identities: facts.identities,
    ...(input.exec === undefined
      ? {}
      : { exec: { ...input.exec, env: { ...input.exec.env, ...egress.env } } }),
  };
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
      driver: plan.driver,
      workspace: plan.workspace,
      pid: process.pid,
      ...(input.origin === undefined ? {} : { copyOf: input.origin.sandbox }),
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
  const limitMs = sandbox.prepared.plan.tier === 'vm+gvisor' ? CAPS.nestedStartMs : CAPS.startMs;
  const late = (): GloveboxError =>
    new GloveboxError('E_SANDBOX_START', { what: `the sandbox did not start within ${limitMs} ms` });
  await inTime(limitMs, sandbox.session.hello, late);
}
