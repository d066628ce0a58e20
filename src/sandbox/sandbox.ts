import { availableParallelism } from 'node:os';
import type { Duplex } from 'node:stream';
import type { Abortable, ListeningPort, SandboxProcess } from '../agent/files-contract.ts';
import { GloveboxError } from '../base/errors.ts';
import type { Plan } from '../drivers/contract.ts';
import { connectChamber } from './attach/remote.ts';
import type { Chamber, SandboxInfo, SandboxMetrics } from './chamber.ts';
import type { CodeContext, CodeContextOptions, Execution, RunCodeOptions } from './code/contract.ts';
import { CodeRunner } from './code/runner.ts';
import { Commands, Programs } from './commands.ts';
import type { EndReport } from './end.ts';
import { SandboxFiles } from './files.ts';
import { findSandbox, listSandboxes, type SandboxQuery } from './listing.ts';
import { LocalChamber, type Shared } from './local.ts';
import { nameTaken, withName } from './names.ts';
import { withDefaults, type Network, type SandboxOptions } from './options.ts';
import { availableMemory } from './metrics.ts';
import { SandboxPool, type PoolOptions } from './pool.ts';
import { Pty } from './pty.ts';
import type { Comparison } from '../review/compare.ts';
import type { PublishedPort } from './publish.ts';
import { RootStores } from './root-stores.ts';
import { StartGate } from './start-gate.ts';
import { OverdueSweep } from './sweep.ts';

/**
 * A sealed chamber for commands: `await using box = await Sandbox.create({ profile: 'python' })`.
 * Any number of them live side by side in one process.
 */
export class Sandbox implements AsyncDisposable {
  /** Caches of what changes never or seldom, for all that `create` makes. */
  static readonly #shared: Shared = { roots: new RootStores(), overdue: new OverdueSweep() };
  /** Starts are work for the processors; more at once than they can do are only slower. */
  static readonly #gate = new StartGate(2 * availableParallelism());
  readonly id: string;
  readonly commands: Commands;
  readonly pty: Pty;
  readonly files: SandboxFiles;
  readonly network: Network;
  /** Ports that `publish` opened. */
  readonly ports: readonly PublishedPort[];
  readonly #chamber: Chamber;
  readonly #code: CodeRunner;

  protected constructor(chamber: Chamber) {
    this.#chamber = chamber;
    this.id = chamber.id;
    this.ports = chamber.ports;
    this.network = chamber.network;
    const programs = new Programs(chamber);
    this.commands = new Commands(programs);
    this.pty = new Pty(programs);
    this.files = new SandboxFiles({
      access: chamber.channel.files,
      cwd: chamber.settings.cwd,
      check: () => this.#use(),
    });
    this.#code = new CodeRunner({
      cwd: chamber.settings.cwd,
      outputBytes: chamber.plan?.limits.outputBytes,
      start: ({ argv, cwd, env }) =>
        programs.start({ argv, options: { cwd, envs: env }, stdio: ['control', 'pipe', 'pipe'] }),
    });
  }

  /**
   * Starts a sandbox and resolves when its agent answers.
   *
   * @throws E_POLICY_INVALID, E_WORKSPACE_INVALID, E_TIER_UNAVAILABLE, E_LIMIT_UNAVAILABLE, E_SANDBOX_START, E_NAME_TAKEN, E_ABORTED
   */
  static async create(options: SandboxOptions = {}): Promise<Sandbox> {
    const { name } = options;
    if (name === undefined) return new Sandbox(await Sandbox.#start(options));
    const env = options.hostEnv ?? process.env;
    return withName(name, env, async () => {
      if ((await findSandbox(name, env)) !== undefined) throw nameTaken(name);
      return new Sandbox(await Sandbox.#start(options));
    });
  }

  static #start(options: SandboxOptions): Promise<LocalChamber> {
    return Sandbox.#gate.run(() => LocalChamber.start(options, Sandbox.#shared));
  }

  /**
   * A sandbox that another process of this user made, or this one, by its id. It lives and ends with whoever made it.
   *
   * @throws E_SANDBOX_NOT_FOUND, E_SANDBOX_CLOSED
   */
  static async connect(id: string, options: Pick<SandboxOptions, 'hostEnv'> = {}): Promise<Sandbox> {
    return new Sandbox(await connectChamber(id, options.hostEnv ?? process.env));
  }

  /** The living sandbox of this name, or a new one. Of two processes that ask at once, one makes it and the other gets the same. */
  static async getOrCreate(options: SandboxOptions & { readonly name: string }): Promise<Sandbox> {
    const env = options.hostEnv ?? process.env;
    return withName(options.name, env, async () => {
      const known = await findSandbox(options.name, env);
      if (known !== undefined) return Sandbox.connect(known.sandboxId, { hostEnv: env });
      return new Sandbox(await Sandbox.#start(options));
    });
  }

  /** Living sandboxes of this user, oldest first, those of other processes too. */
  static list(query: SandboxQuery = {}): AsyncIterableIterator<SandboxInfo> {
    return listSandboxes(query, query.hostEnv ?? process.env);
  }

  /** Sandboxes that are started before anybody asks for them. */
  static pool(options: PoolOptions): SandboxPool {
    const { languages = [], ...sizes } = options;
    const sandbox = withDefaults(options.sandbox);
    const wanted = sandbox.workspace === undefined ? { ...sandbox, temporary: true } : sandbox;
    // Its life begins when it is taken.
    const waiting = { ...wanted, timeoutMs: 0 };
    return new SandboxPool(sizes, {
      available: availableMemory,
      start: async () => {
        const chamber = await Sandbox.#start(waiting);
        const made = new Sandbox(chamber);
        await Promise.all(languages.map((language) => made.#code.warm(language)));
        return {
          sandbox: made,
          isCurrent: () => chamber.isCurrent(),
          adopt: (taken) => chamber.adopt({ ...taken, ...endOf(taken.timeoutMs ?? sandbox.timeoutMs) }),
        };
      },
    });
  }

  /** Everything about this containment. @throws E_UNSUPPORTED for a sandbox of another process */
  get plan(): Plan {
    if (this.#chamber.plan !== undefined) return this.#chamber.plan;
    throw new GloveboxError('E_UNSUPPORTED', {
      what: `the plan of ${this.id} is known to its owner only`,
      next: 'Use `glovebox explain` where it was made.',
    });
  }

  /** Resolves when the sandbox is over, with the reason when it was lost. */
  get closed(): Promise<Error | undefined> {
    return this.#chamber.channel.closed;
  }

  getInfo(): Promise<SandboxInfo> {
    return this.#chamber.info();
  }

  /** How much it uses at this moment. */
  getMetrics(): Promise<SandboxMetrics> {
    return this.#chamber.metrics();
  }

  /** True while commands can be run: false when it has ended, and during a pause. */
  async isRunning(): Promise<boolean> {
    try {
      this.#chamber.refuseEnded();
      if ((await this.#chamber.info()).state === 'paused') return false;
      await this.#chamber.channel.ping();
      return true;
    } catch {
      return false;
    }
  }

  /** Sets the end to so many milliseconds from now, 0 for none. @throws E_LIMIT_EXCEEDED beyond `limits.ttl`, E_SANDBOX_CLOSED */
  setTimeout(timeoutMs: number): Promise<void> {
    return this.#chamber.setTimeout(timeoutMs);
  }

  /**
   * In mode review: what is different in the copy of the workspace at this moment. The end makes a review of it (`EndReport.review`), which
   * `Reviews` applies.
   *
   * @throws E_USAGE where the sandbox works on the workspace itself, E_UNSUPPORTED for a sandbox of another process
   */
  async changes(): Promise<Comparison> {
    this.#use();
    const found = this.#chamber.changes?.();
    if (found !== undefined) return found;
    throw new GloveboxError('E_UNSUPPORTED', { what: `what ${this.id} changed is known to its owner only` });
  }

  /** Ends everything at once; resolves when nothing is left. Later calls get the same report. */
  kill(): Promise<EndReport> {
    return this.#chamber.kill();
  }

  /**
   * Ends it, when it has not ended or crashed already, and starts another one with the same options: name, workspace and ports are those of the
   * old one; id, record, processes, and whatever lay in memory are new, and a temporary workspace is empty.
   *
   * @throws as `create`; E_UNSUPPORTED for a sandbox of another process
   */
  async restart(): Promise<Sandbox> {
    const { madeWith } = this.#chamber;
    if (madeWith === undefined) {
      throw new GloveboxError('E_UNSUPPORTED', {
        what: `${this.id} was not made here by Sandbox.create`,
        next: 'Restart it where it was made.',
      });
    }
    await this.kill();
    return Sandbox.create(madeWith);
  }

  /**
   * Copies of it as it is at this moment, with its memory and its running processes; it goes on itself. Each copy is a sandbox of its own: id, record,
   * gateway, placeholders, limits, random numbers, host name, machine id. All of them work on the same workspace. What `commands`, `pty` and `runCode`
   * started here goes on in a copy too, without anybody who reads its output: `processes` lists it. Tier vm only; `count` from 1 to 16.
   *
   * @throws E_UNSUPPORTED in other tiers and with `review`; E_USAGE while it is paused; E_LIMIT_EXCEEDED, E_SANDBOX_CLOSED, E_IO without room for
   * the copied memory, and as `create`. No copy is left then
   */
  async fork(count = 1): Promise<readonly Sandbox[]> {
    this.#use();
    const forks = await this.#chamber.fork?.(count);
    if (forks !== undefined) return forks.map((chamber) => new Sandbox(chamber));
    throw new GloveboxError('E_UNSUPPORTED', {
      what: `${this.id} was not made here by Sandbox.create`,
      next: 'Fork it where it was made.',
    });
  }

  /** Lets go of a sandbox of another process; one of this process stays its own. */
  disconnect(): void {
    this.#chamber.disconnect();
  }

  /** Opens a connection to a port inside. */
  async dial(port: number): Promise<Duplex> {
    this.#use();
    return this.#chamber.channel.dial(port);
  }

  /** Where a published port is reached on this machine: `127.0.0.1:9000`. @throws E_USAGE when it was not published */
  getHost(port: number): string {
    const published = this.ports.find(({ sandboxPort }) => sandboxPort === port);
    if (published !== undefined) return `127.0.0.1:${published.hostPort}`;
    throw new GloveboxError('E_USAGE', {
      what: `port ${port} is not published`,
      next: `Create the sandbox with \`publish: ['${port}']\`, or reach it with \`dial(${port})\`.`,
    });
  }

  /** What runs inside, as /proc there says. */
  async processes(options: Abortable = {}): Promise<readonly SandboxProcess[]> {
    this.#use();
    return this.#chamber.channel.processes(options);
  }

  /** TCP ports that something inside listens on; those of the gateway are left out. */
  async listeningPorts(options: Abortable = {}): Promise<readonly ListeningPort[]> {
    this.#use();
    const gateway = new Set(this.#chamber.gatewayPorts);
    return (await this.#chamber.channel.ports(options)).filter(({ port }) => !gateway.has(port));
  }

  /** Resolves when something inside listens on a port. @throws E_TIMEOUT after `timeoutMs`, default one minute; E_ABORTED */
  async waitForPort(port: number, options: Abortable & { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#use();
    return this.#chamber.channel.waitForPort(port, options);
  }

  /**
   * Runs code in a context that lives on between calls. How it went is the answer, also when it failed.
   *
   * @throws E_CODE_LANGUAGE when the sandbox has no such interpreter, E_USAGE, E_ABORTED
   */
  async runCode(code: string, options: RunCodeOptions = {}): Promise<Execution> {
    return this.#code.run(code, options);
  }

  /** A namespace of its own, with its interpreter started. */
  createCodeContext(options: CodeContextOptions = {}): Promise<CodeContext> {
    return this.#code.create(options);
  }

  listCodeContexts(): readonly CodeContext[] {
    return this.#code.list();
  }

  /** Interrupts the cell that runs in a context; its `runCode` answers with the error. */
  interruptCodeContext(context: CodeContext | string): void {
    this.#code.interrupt(context);
  }

  /** Forgets what a context holds; the next call starts with nothing. */
  restartCodeContext(context: CodeContext | string): Promise<void> {
    return this.#code.restart(context);
  }

  removeCodeContext(context: CodeContext | string): Promise<void> {
    return this.#code.remove(context);
  }

  /** Stops every process inside; nothing is lost. Limits of time go on. */
  pause(): Promise<void> {
    return this.#chamber.pause();
  }

  /** Lets them go on. */
  resume(): Promise<void> {
    return this.#chamber.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  #use(): void {
    this.#chamber.refuseEnded();
    this.#chamber.touch();
  }
}

const endOf = (timeoutMs: number | undefined): { readonly timeoutMs?: number } =>
  timeoutMs === undefined ? {} : { timeoutMs };
