import type { AgentChannel } from '../agent/contract.ts';
import { shareSession } from '../agent/share.ts';
import { openAudit, type AuditWriter } from '../audit/writer.ts';
import { bootMoment } from '../base/boot-clock.ts';
import { GloveboxError } from '../base/errors.ts';
import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';
import { isWithin } from '../base/path-bytes.ts';
import { gloveboxDirs, homeDirectory } from '../base/paths.ts';
import { processIdentity } from '../base/process-identity.ts';
import type { Plan } from '../drivers/contract.ts';
import type { LimitName, Policy } from '../policy/contract.ts';
import type { Comparison } from '../review/compare.ts';
import { loadPolicy } from '../policy/load.ts';
import { AttachServer } from './attach/server.ts';
import type { Chamber, CommandSettings, SandboxInfo, SandboxMetrics } from './chamber.ts';
import { policyContext } from './context.ts';
import { Deadline } from './deadline.ts';
import { endSandbox, type EndCause, type EndReport } from './end.ts';
import { checkForkCount, forkSandbox } from './fork.ts';
import type { Program } from './handle.ts';
import { baseDirectory, layerOf } from './layer.ts';
import { Meter } from './metrics.ts';
import { networkOf } from './network.ts';
import { withDefaults, type Network, type SandboxOptions } from './options.ts';
import { preparePlan } from './prepare.ts';
import type { TakeOptions } from './pool.ts';
import type { PublishedPort } from './publish.ts';
import type { RootStores } from './root-stores.ts';
import { socketPath } from './socket-files.ts';
import { awaitHello, startSandbox, type StartedSandbox, type StartInput } from './start.ts';
import { makeTemporary, removeTemporary, type OverdueSweep } from './sweep.ts';

/** What all sandboxes of one owner share. */
export interface Shared {
  readonly roots: RootStores;
  readonly overdue: OverdueSweep;
}

interface Parts {
  readonly started: StartedSandbox;
  readonly audit: AuditWriter;
  readonly env: NodeJS.ProcessEnv;
  readonly options: SandboxOptions;
  readonly overdue: OverdueSweep;
  readonly roots: RootStores;
}

/** A sandbox that this process owns: it ends with it. */
export class LocalChamber implements Chamber {
  readonly id: string;
  readonly channel: AgentChannel;
  readonly settings: CommandSettings;
  readonly programs: Map<number, Program> = new Map();
  readonly ports: readonly PublishedPort[];
  readonly plan: Plan;
  readonly network: Network;
  readonly gatewayPorts: readonly number[];
  readonly #parts: Parts;
  readonly #meter: Meter;
  readonly #deadline: Deadline;
  #state: SandboxInfo['state'] = 'running';
  #socket: string | undefined;
  #metadata: Readonly<Record<string, string>>;
  #end: Promise<EndReport> | undefined;

  private constructor(parts: Parts) {
    const { started, options, audit, env } = parts;
    const { plan } = started.prepared;
    this.#parts = parts;
    this.id = started.id;
    this.plan = plan;
    this.ports = started.ports;
    this.channel = started.session;
    this.#metadata = options.metadata ?? {};
    this.gatewayPorts = plan.network.listeners.map(({ port }) => port);
    this.settings = { cwd: plan.cwd, env: { ...plan.env, ...started.egress.env, ...options.envs } };
    this.#meter = new Meter({
      limits: plan.limits,
      workspace: plan.workspace,
      current: () => started.limits.current(),
    });
    this.network = networkOf({ started, audit, env, options, refuseEnded: () => this.refuseEnded() });
    this.#deadline = this.#makeDeadline();
  }

  /** @throws E_POLICY_INVALID, E_WORKSPACE_INVALID, E_TIER_UNAVAILABLE, E_LIMIT_UNAVAILABLE, E_SANDBOX_START, E_ABORTED */
  static async start(wanted: SandboxOptions, { roots, overdue }: Shared): Promise<LocalChamber> {
    const options = withDefaults(wanted);
    const { signal } = options;
    if (isAborted(signal)) throw abortedStart(signal);
    const env = options.hostEnv ?? process.env;
    const audit = openAudit({ stateDir: gloveboxDirs(env).state });
    const started = await bringUp(options, { env, audit, roots }).catch(async (error: unknown) => {
      await audit.close();
      throw error;
    });
    return LocalChamber.#serve({ started, audit, env, options, overdue, roots });
  }

  /** Begins its life, or ends it when that fails. */
  static async #serve(parts: Parts): Promise<LocalChamber> {
    const { started, audit, env, options } = parts;
    let ours: StartedSandbox | undefined = started;
    try {
      await awaitHello(started);
      const chamber = new LocalChamber(parts);
      await chamber.#open();
      if (!isAborted(options.signal)) return chamber;
      ours = undefined;
      await chamber.kill();
      throw abortedStart(options.signal);
    } catch (error) {
      if (ours !== undefined) await endSandbox({ sandbox: ours, audit, cause: 'lost', hit: [], env });
      await audit.close();
      throw error;
    }
  }

  /** As it was made, and with what it was told of itself since. */
  get madeWith(): SandboxOptions {
    return { ...this.#parts.options, metadata: this.#metadata };
  }

  async info(): Promise<SandboxInfo> {
    return this.#info();
  }

  async metrics(): Promise<SandboxMetrics> {
    this.refuseEnded();
    return this.#meter.measure();
  }

  async changes(): Promise<Comparison> {
    this.refuseEnded();
    const { review } = this.#parts.started;
    if (review !== undefined) return review.changes();
    throw new GloveboxError('E_USAGE', {
      what: `sandbox ${this.id} works on its workspace itself`,
      next: 'Create it with `review: true` and a workspace, or `filesystem.mode: review` in its policy.',
    });
  }

  /** The record is written first in order; a command that cannot be recorded ends the sandbox. */
  record(argv: readonly string[], cwd: string): void {
    this.#recorded(argv, cwd).catch(() => this.kill().catch(() => undefined));
  }

  touch(): void {
    this.#deadline.touch();
  }

  refuseEnded(): void {
    if (this.#end !== undefined)
      throw new GloveboxError('E_SANDBOX_CLOSED', { what: `sandbox ${this.id} has ended` });
  }

  async setTimeout(timeoutMs: number): Promise<void> {
    this.refuseEnded();
    this.#deadline.renew(timeoutMs);
  }

  /** A machine is stopped as a whole. Else: a freezer stops also what is being started; signals reach what runs. */
  async pause(): Promise<void> {
    this.refuseEnded();
    const { limits, session, jail } = this.#parts.started;
    if (jail.machine !== undefined) await jail.machine.pause();
    else if (!limits.freeze(true)) session.signalAll(SIGNAL_NUMBERS['SIGSTOP'] ?? 19);
    this.#state = 'paused';
  }

  async resume(): Promise<void> {
    this.refuseEnded();
    const { limits, session, jail } = this.#parts.started;
    await jail.machine?.resume();
    // A budget that was used up stops by signals, in a machine too.
    if (jail.machine !== undefined || !limits.freeze(false))
      session.signalAll(SIGNAL_NUMBERS['SIGCONT'] ?? 18);
    this.#state = 'running';
  }

  async fork(count: number): Promise<readonly LocalChamber[]> {
    this.refuseEnded();
    checkForkCount(count);
    if (this.#state === 'paused')
      throw new GloveboxError('E_USAGE', { what: `sandbox ${this.id} is paused`, next: 'Resume it first.' });
    const { env, overdue, roots } = this.#parts;
    return forkSandbox(this.#parts, count, {
      finish: (forked) => LocalChamber.#serve({ ...forked, env, overdue, roots }),
      discard: (made) => made.kill(),
    });
  }

  kill(): Promise<EndReport> {
    return this.#finish('killed', []);
  }

  disconnect(): void {
    // It is ours: nobody else would end it.
  }

  /** A sandbox that was started ahead begins its life now. */
  async adopt({ metadata = {}, timeoutMs }: TakeOptions): Promise<void> {
    this.refuseEnded();
    const { audit, started, options } = this.#parts;
    const waitedMs = Date.now() - started.startedAt;
    await audit.write({ kind: 'run.taken', sandbox: this.id, data: { waitedMs, metadata } });
    this.#metadata = metadata;
    this.#deadline.restart(timeoutMs ?? options.timeoutMs);
  }

  /** Whether the same options make the same plan at this moment. */
  async isCurrent(): Promise<boolean> {
    const { started, options, env } = this.#parts;
    const { workspace } = started.prepared.plan;
    try {
      const { prepared } = await planFor({ ...options, workspace }, env);
      return prepared.hash === started.prepared.hash;
    } catch {
      return false;
    }
  }

  #info(): SandboxInfo {
    const { started, options } = this.#parts;
    const { endAt } = this.#deadline;
    return {
      sandboxId: this.id,
      ...(options.name === undefined ? {} : { name: options.name }),
      metadata: this.#metadata,
      tier: this.plan.tier,
      driver: this.plan.driver,
      workspace: this.plan.workspace,
      startedAt: started.startedAt,
      ...(endAt === undefined ? {} : { endAt }),
      state: this.#state,
      ownerPid: process.pid,
    };
  }

  /** Lets other processes of this user find it and follows what may end it. */
  async #open(): Promise<void> {
    const { started, env, options, overdue } = this.#parts;
    const dirs = gloveboxDirs(env);
    overdue.run(dirs, started.registry);
    this.#socket = await socketPath(dirs, 'sandboxes', this.id);
    started.inventory.path('socket', this.#socket);
    const hello = await started.session.hello;
    const server = await AttachServer.listen({
      path: this.#socket,
      owner: {
        info: () => ({ info: this.#info(), settings: this.settings, gatewayPorts: this.gatewayPorts }),
        kill: () => this.kill(),
        setTimeout: (ms) => this.#deadline.renew(ms),
        pause: () => this.pause(),
        resume: () => this.resume(),
        metrics: () => this.metrics(),
        programs: () => [...this.programs.values()],
      },
      session: (client) =>
        shareSession({
          session: started.session,
          client,
          hello,
          onCommand: ({ argv, cwd }) => this.#recorded(argv, cwd),
        }),
    });
    started.teardown.add('attach', () => server.close());
    this.#publish(this.#deadline.endAt);
    this.#follow(options);
  }

  #recorded(argv: readonly string[], cwd: string): Promise<void> {
    this.#deadline.touch();
    return this.#parts.audit.write({ kind: 'run.command', sandbox: this.id, data: { argv, cwd } });
  }

  #makeDeadline(): Deadline {
    const { options, started } = this.#parts;
    const most = this.plan.limits.ttlMs;
    const wanted = options.timeoutMs === 0 ? undefined : options.timeoutMs;
    return new Deadline({
      ...(wanted === undefined ? {} : { ttlMs: wanted }),
      ...(most === undefined ? {} : { mostMs: most }),
      ...(options.idleTimeoutMs === undefined ? {} : { idleMs: options.idleTimeoutMs }),
      busy: () => started.session.streamCount > 0 && this.#state === 'running',
      over: (why) => void this.#finish(why, why === 'ttl' ? ['ttl'] : []).catch(() => undefined),
      persist: (endAt) => this.#publish(endAt),
    });
  }

  /** Says in the registry what others may know. Before the socket stands there is nobody to tell. */
  #publish(endAt: number | undefined): void {
    const { started, options } = this.#parts;
    const { pid } = started.jail;
    const jail = pid === undefined ? undefined : processIdentity(pid);
    if (this.#socket === undefined || jail === undefined) return;
    const end = endAt === undefined ? {} : { endAt, deadline: bootMoment(endAt - Date.now()) };
    started.registry.serve(this.id, {
      ...(options.name === undefined ? {} : { name: options.name }),
      metadata: this.#metadata,
      tier: this.plan.tier,
      workspace: this.plan.workspace,
      startedAt: started.startedAt,
      ...end,
      jail,
      socket: this.#socket,
    });
  }

  #follow({ signal }: SandboxOptions): void {
    const abort = (): void => void this.kill().catch(() => undefined);
    signal?.addEventListener('abort', abort, { once: true });
    const lost = async (): Promise<void> => {
      await this.channel.closed;
      signal?.removeEventListener('abort', abort);
      await this.#finish('lost', []);
    };
    lost().catch(() => undefined);
  }

  /** What goes wrong is told by `kill`: an end that comes by itself has nobody to tell, and must not end the whole process. */
  #finish(cause: EndCause, hit: readonly LimitName[]): Promise<EndReport> {
    this.#end ??= this.#endNow(cause, hit);
    return this.#end;
  }

  async #endNow(cause: EndCause, hit: readonly LimitName[]): Promise<EndReport> {
    const { started, audit, env } = this.#parts;
    this.#deadline.stop();
    try {
      return await endSandbox({ sandbox: started, audit, cause, hit, env });
    } finally {
      await audit.close();
    }
  }
}

async function bringUp(
  options: SandboxOptions,
  parts: { readonly env: NodeJS.ProcessEnv; readonly audit: AuditWriter; readonly roots: RootStores },
): Promise<StartedSandbox> {
  const { env } = parts;
  const dirs = gloveboxDirs(env);
  const temporary = options.temporary === true ? makeTemporary(dirs) : undefined;
  try {
    const placed = temporary === undefined ? options : { ...options, workspace: temporary };
    return await startSandbox({
      ...(await planFor(placed, env)),
      dirs,
      ...parts,
      ...(temporary === undefined ? {} : { temporary }),
      stdio: ['ignore', 'ignore', 'pipe'],
      publish: options.publish ?? [],
      ...(options.warmUp === undefined ? {} : { warmUp: options.warmUp }),
      onNetwork: (event) => options.onNetwork?.(event),
      ...(options.onAsk === undefined ? {} : { onAsk: options.onAsk }),
      ...(options.onPause === undefined ? {} : { onPause: options.onPause }),
      ...(options.transport === undefined ? {} : { transport: options.transport }),
    });
  } catch (error) {
    if (temporary !== undefined) await removeTemporary(temporary, dirs).catch(() => undefined);
    throw error;
  }
}

async function planFor(
  options: SandboxOptions,
  env: NodeJS.ProcessEnv,
): Promise<Pick<StartInput, 'prepared' | 'policyHash'>> {
  const layer = layerOf(options, gloveboxDirs(env).cache);
  const { policy, hash } = await loadPolicy(policyContext(env, baseDirectory(options)), layer);
  const home = homeDirectory(env);
  if (options.temporary !== true) {
    return { prepared: await preparePlan({ policy, env, home }), policyHash: hash };
  }
  const prepared = await preparePlan({ policy: withoutTraps(policy), env, home });
  return { prepared: { ...prepared, policy }, policyHash: hash };
}

/**
 * The built-in protections of a workspace are against what the host might run there later. One that goes with its sandbox is never run
 * by the host, and should be as empty as it looks.
 */
function withoutTraps(policy: Policy): Policy {
  const { filesystem } = policy;
  const protect = filesystem.protect.filter(
    (rule) => rule.origin.layer !== 'built-in' || !isWithin(rule.path, filesystem.workspace),
  );
  return { ...policy, filesystem: { ...filesystem, protect } };
}

/** A question of its own, because the answer changes while a start waits. */
const isAborted = (signal: AbortSignal | undefined): signal is AbortSignal => signal?.aborted === true;

function abortedStart(signal: AbortSignal): GloveboxError {
  return new GloveboxError('E_ABORTED', {
    what: 'the start of the sandbox was aborted',
    cause: signal.reason,
  });
}
