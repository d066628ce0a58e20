import { existsSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { canonicalHash } from '../base/canonical-json.ts';
import type { Duplex } from 'node:stream';
import { openAudit, type AuditWriter } from '../audit/writer.ts';
import { GloveboxError } from '../base/errors.ts';
import { SIGNAL_NUMBERS } from '../base/exit-codes.ts';
import { ensurePrivateDir, gloveboxDirs, homeDirectory } from '../base/paths.ts';
import type { Plan } from '../drivers/contract.ts';
import type { GatewayOptions, NetworkEvent } from '../gateway/contract.ts';
import type { CommandLineLayer, LimitName, Tier } from '../policy/contract.ts';
import { loadPolicy } from '../policy/load.ts';
import type { Broker } from '../secrets/contract.ts';
import { policyContext } from './context.ts';
import { Command, CommandExitError, type CommandOptions, type CommandResult } from './command.ts';
import { endSandbox, type EndCause, type EndReport } from './end.ts';
import { changeNetwork, type NetworkChange } from './network.ts';
import { preparePlan } from './prepare.ts';
import type { PublishedPort } from './publish.ts';
import { awaitHello, startSandbox, type StartedSandbox } from './start.ts';

/** What a sandbox is made from. Everything left out comes from the organisation, user and trusted project policy. */
export interface SandboxOptions {
  /** Built-in profiles by name. */
  readonly profile?: string | readonly string[];
  /** A policy besides the organisation's and the user's: the path of a file, or the policy itself as an object. */
  readonly policy?: string | Readonly<Record<string, unknown>>;
  /** The one writable tree; default the current directory. Relative paths below are meant inside it. */
  readonly workspace?: string;
  readonly tier?: Tier;
  /** `host` or `host:port`. */
  readonly allow?: readonly string[];
  readonly read?: readonly string[];
  readonly write?: readonly string[];
  readonly deny?: readonly string[];
  /** Variables of the sandbox's commands. */
  readonly env?: Readonly<Record<string, string>>;
  /** As in the policy: `{ memory: '1GiB', pids: '256', timeout: '10m' }`. */
  readonly limits?: Readonly<Record<string, string>>;
  /** Ports of the sandbox to reach on the host's 127.0.0.1: `8080`, or `9000:8080`. */
  readonly publish?: readonly string[];
  /** Hard end of the sandbox, in milliseconds. */
  readonly ttlMs?: number;
  /** Ends the sandbox when aborted. */
  readonly signal?: AbortSignal;
  /** Every decision of the gateway as it is made. */
  readonly onNetwork?: (event: NetworkEvent) => void;
  /** Asked about hosts that no rule knows, where the policy says `ask`; nobody to ask means denial. */
  readonly onAsk?: GatewayOptions['onAsk'];
  /** The policy says `overBudget: pause` and a budget is used up: everything inside stands still until `resume` or `kill`. */
  readonly onPause?: (reason: string) => void;
  /** Other ways to the network than this machine's own, such as a tunnel. Every guard stands before them. */
  readonly transport?: Pick<GatewayOptions, 'resolver' | 'dialler'>;
  /** Host environment that the policy may pass variables from; default `process.env`. */
  readonly hostEnv?: NodeJS.ProcessEnv;
}

/** Commands of a sandbox. */
export interface Commands {
  /** Runs a shell line (a string) or a program (a list) and throws `CommandExitError` when it ends with another code than 0. */
  run(command: string | readonly string[], options?: CommandOptions): Promise<CommandResult>;
  /** Runs a program and answers how it ended, whatever the code. */
  exec(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
  /** Starts a command and answers at once. */
  start(command: string | readonly string[], options?: CommandOptions): Command;
}

/** The way out of a running sandbox. */
export interface Network {
  /**
   * Puts other rules in force within a second and closes what they no longer allow; a policy that is wrong changes nothing. What is
   * not named stays as it was at `create`.
   *
   * @throws E_POLICY_INVALID, E_UNSUPPORTED for a change that a running sandbox cannot take
   */
  update(change: Pick<SandboxOptions, 'policy' | 'profile' | 'allow'>): Promise<NetworkChange>;
  /** Reads the source of a credential again. @throws E_CREDENTIAL_SOURCE; its requests are refused until a later read works */
  refresh(credential: string): Promise<void>;
  /** Ends the use of a credential at once. */
  revoke(credential: string): void;
}

/**
 * A sealed chamber for commands: `await using box = await Sandbox.create({ profile: 'python' })`.
 * Any number of them live side by side in one process.
 */
export class Sandbox implements AsyncDisposable {
  readonly id: string;
  readonly plan: Plan;
  /** Ports that `publish` opened. */
  readonly ports: readonly PublishedPort[];
  readonly commands: Commands;
  readonly network: Network;
  readonly #started: StartedSandbox;
  readonly #audit: AuditWriter;
  readonly #env: NodeJS.ProcessEnv;
  readonly #extraEnv: Readonly<Record<string, string>>;
  #changing: Promise<unknown> = Promise.resolve();
  #end: Promise<EndReport> | undefined;

  private constructor(started: StartedSandbox, audit: AuditWriter, options: SandboxOptions) {
    this.id = started.id;
    this.plan = started.prepared.plan;
    this.ports = started.ports;
    this.#started = started;
    this.#audit = audit;
    this.#env = options.hostEnv ?? process.env;
    this.#extraEnv = options.env ?? {};
    this.commands = {
      run: (command, extra) => this.#run(command, extra ?? {}),
      exec: async (argv, extra) => this.#start(argv, extra ?? {}).wait(),
      start: (command, extra) => this.#start(command, extra ?? {}),
    };
    this.network = {
      update: (change) => this.#changeNetwork({ ...options, ...change }),
      refresh: (credential) => brokerOf(started).refresh(credential),
      revoke: (credential) => brokerOf(started).revoke(credential),
    };
  }

  /**
   * Starts a sandbox and resolves when its agent answers.
   *
   * @throws E_POLICY_INVALID, E_WORKSPACE_INVALID, E_TIER_UNAVAILABLE, E_LIMIT_UNAVAILABLE, E_SANDBOX_START, E_ABORTED
   */
  static async create(options: SandboxOptions = {}): Promise<Sandbox> {
    const { signal } = options;
    if (isAborted(signal)) throw abortedStart(signal);
    const env = options.hostEnv ?? process.env;
    const dirs = gloveboxDirs(env);
    const audit = openAudit({ stateDir: dirs.state });
    let started: StartedSandbox | undefined;
    try {
      started = await start(options, env, audit);
      await awaitHello(started);
      const box = new Sandbox(started, audit, options);
      box.#watch(options);
      if (isAborted(signal)) {
        started = undefined;
        await box.kill();
        throw abortedStart(signal);
      }
      return box;
    } catch (error) {
      if (started !== undefined) await endSandbox({ sandbox: started, audit, cause: 'lost', hit: [], env });
      await audit.close();
      throw error;
    }
  }

  /** Resolves when the sandbox is over, with the reason when it was lost. */
  get closed(): Promise<Error | undefined> {
    return this.#started.session.closed;
  }

  /** Ends everything at once; resolves when nothing is left. Later calls get the same report. */
  kill(): Promise<EndReport> {
    return this.#finish('killed', []);
  }

  /** Opens a connection to a port inside. */
  dial(port: number): Promise<Duplex> {
    return this.#started.session.dial(port);
  }

  /** Stops every process inside; nothing is lost. Limits of time go on. */
  pause(): void {
    this.#started.session.signalAll(SIGNAL_NUMBERS['SIGSTOP'] ?? 19);
  }

  /** Lets them go on. */
  resume(): void {
    this.#started.session.signalAll(SIGNAL_NUMBERS['SIGCONT'] ?? 18);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  /** One after another, so that the last one asked for is the one in force. */
  #changeNetwork(options: SandboxOptions): Promise<NetworkChange> {
    const change = this.#changing.then(() => this.#changeNow(options));
    this.#changing = change.catch(() => undefined);
    return change;
  }

  async #changeNow(options: SandboxOptions): Promise<NetworkChange> {
    this.#refuseEnded();
    const context = policyContext(this.#env, baseDirectory(options));
    const layer = layerOf(options, gloveboxDirs(this.#env).cache);
    return changeNetwork({ sandbox: this.#started, audit: this.#audit, context, layer });
  }

  #refuseEnded(): void {
    if (this.#end !== undefined)
      throw new GloveboxError('E_SANDBOX_CLOSED', { what: `sandbox ${this.id} has ended` });
  }

  async #run(command: string | readonly string[], options: CommandOptions): Promise<CommandResult> {
    const result = await this.#start(command, options).wait();
    if (result.exitCode !== 0) throw new CommandExitError(nameOf(command), result);
    return result;
  }

  #start(command: string | readonly string[], options: CommandOptions): Command {
    this.#refuseEnded();
    const argv = typeof command === 'string' ? ['/bin/bash', '-c', command] : [...command];
    const cwd = options.cwd ?? this.plan.cwd;
    const env = { ...this.plan.env, ...this.#started.egress.env, ...this.#extraEnv, ...options.env };
    // The record is written first in order; a command that cannot be recorded ends the sandbox.
    this.#audit
      .write({ kind: 'run.command', sandbox: this.id, data: { argv, cwd } })
      .catch(() => void this.kill());
    const running = this.#started.session.exec({ argv, env, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    return new Command(nameOf(command), running, options);
  }

  #watch(options: SandboxOptions): void {
    const ttl = options.ttlMs ?? this.plan.limits.ttlMs;
    const timer = ttl === undefined ? undefined : setTimeout(() => void this.#finish('ttl', ['ttl']), ttl);
    timer?.unref();
    const abort = (): void => void this.kill();
    options.signal?.addEventListener('abort', abort, { once: true });
    void this.closed.then(() => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', abort);
      return this.#finish('lost', []);
    });
  }

  #finish(cause: EndCause, hit: readonly LimitName[]): Promise<EndReport> {
    this.#end ??= this.#endNow(cause, hit);
    return this.#end;
  }

  async #endNow(cause: EndCause, hit: readonly LimitName[]): Promise<EndReport> {
    try {
      return await endSandbox({ sandbox: this.#started, audit: this.#audit, cause, hit, env: this.#env });
    } finally {
      await this.#audit.close();
    }
  }
}

function brokerOf(started: StartedSandbox): Broker {
  const { broker } = started.egress;
  if (broker === undefined)
    throw new GloveboxError('E_USAGE', {
      what: `sandbox ${started.id} has no credentials`,
      next: 'Name them under `credentials` in its policy.',
    });
  return broker;
}

async function start(
  options: SandboxOptions,
  env: NodeJS.ProcessEnv,
  audit: AuditWriter,
): Promise<StartedSandbox> {
  const dirs = gloveboxDirs(env);
  const home = homeDirectory(env);
  const resolved = await loadPolicy(policyContext(env, baseDirectory(options)), layerOf(options, dirs.cache));
  const prepared = await preparePlan({ policy: resolved.policy, env, home });
  return startSandbox({
    prepared,
    policyHash: resolved.hash,
    dirs,
    env,
    audit,
    stdio: ['ignore', 'ignore', 'pipe'],
    publish: options.publish ?? [],
    onNetwork: (event) => options.onNetwork?.(event),
    ...(options.onAsk === undefined ? {} : { onAsk: options.onAsk }),
    ...(options.onPause === undefined ? {} : { onPause: options.onPause }),
    ...(options.transport === undefined ? {} : { transport: options.transport }),
  });
}

/** Relative paths of the options are meant inside the workspace. */
function baseDirectory(options: SandboxOptions): string {
  return path.resolve(options.workspace ?? '.');
}

/** An object goes through a file named for its content, so that errors and the cache have something to point at. */
function policyFile(policy: string | Readonly<Record<string, unknown>>, cacheDir: string): string {
  if (typeof policy === 'string') return path.resolve(policy);
  const dir = ensurePrivateDir(path.join(cacheDir, 'inline'));
  const file = path.join(dir, `${canonicalHash(policy)}.json`);
  if (!existsSync(file)) {
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(policy, null, 2), { mode: 0o600 });
    renameSync(draft, file);
  }
  return file;
}

function layerOf(options: SandboxOptions, cacheDir: string): CommandLineLayer {
  const { profile } = options;
  return {
    ...(profile === undefined ? {} : { profiles: typeof profile === 'string' ? [profile] : profile }),
    ...(options.policy === undefined ? {} : { policyFile: policyFile(options.policy, cacheDir) }),
    ...(options.workspace === undefined ? {} : { workspace: baseDirectory(options) }),
    ...(options.tier === undefined ? {} : { tier: options.tier }),
    ...(options.allow === undefined ? {} : { allow: options.allow }),
    ...(options.read === undefined ? {} : { read: options.read }),
    ...(options.write === undefined ? {} : { write: options.write }),
    ...(options.deny === undefined ? {} : { deny: options.deny }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  };
}

const nameOf = (command: string | readonly string[]): string =>
  (typeof command === 'string' ? command : (command[0] ?? '')).slice(0, 200);

/** A question of its own, because the answer changes while a start waits. */
const isAborted = (signal: AbortSignal | undefined): signal is AbortSignal => signal?.aborted === true;

function abortedStart(signal: AbortSignal): GloveboxError {
  return new GloveboxError('E_ABORTED', {
    what: 'the start of the sandbox was aborted',
    cause: signal.reason,
  });
}
