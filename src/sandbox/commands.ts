import type { AgentProcess, ExecSpec } from '../agent/contract.ts';
import { KeptOutput } from '../agent/kept-output.ts';
import { GloveboxError } from '../base/errors.ts';
import type { Chamber } from './chamber.ts';
import { Command, CommandExitError, feedStdin, type CommandOptions, type CommandResult } from './command.ts';
import { CommandHandle, writeTo, type HandleOptions, type Program } from './handle.ts';

/** A shell line, or a program and its arguments. */
export type CommandWords = string | readonly string[];

export interface BackgroundOptions extends CommandOptions {
  /** Answer as soon as it runs; it goes on by itself, and `connect` finds it again. */
  readonly background: true;
  /** A word of the caller's own, for `list`. */
  readonly tag?: string;
}

/** A running background command. Names as in E2B. */
export type CommandInfo = Pick<Program, 'pid' | 'cmd' | 'args' | 'envs' | 'cwd' | 'tag'>;

export interface StartInput {
  readonly argv: readonly string[];
  readonly options: Pick<CommandOptions, 'cwd' | 'envs'>;
  readonly stdio: NonNullable<ExecSpec['stdio']>;
  readonly terminal?: ExecSpec['terminal'];
}

/** Starts commands of one sandbox and knows those in the background. */
export class Programs {
  readonly #chamber: Chamber;
  readonly #running = new Map<number, Program>();

  constructor(chamber: Chamber) {
    this.#chamber = chamber;
  }

  /** @throws E_SANDBOX_CLOSED, E_LIMIT_EXCEEDED */
  start({ argv, options, stdio, terminal }: StartInput): AgentProcess {
    const { settings, channel } = this.#chamber;
    this.#chamber.refuseEnded();
    this.#chamber.touch();
    const cwd = options.cwd ?? settings.cwd;
    this.#chamber.record(argv, cwd);
    return channel.exec({
      argv: [...argv],
      env: { ...settings.env, ...options.envs },
      cwd,
      stdio,
      ...(terminal === undefined ? {} : { terminal }),
    });
  }

  /** Starts one that goes on by itself. Its output is kept, the oldest of it dropped, so that it never waits for a reader. */
  async background(input: StartInput & { readonly cmd: string; readonly tag?: string }): Promise<Program> {
    const { argv, cmd, options, tag } = input;
    const process = this.start(input);
    const kept = new KeptOutput(process, { overflow: 'drop-oldest' });
    const program: Program = {
      pid: await process.started,
      cmd,
      args: argv.slice(1),
      envs: options.envs ?? {},
      cwd: options.cwd ?? this.#chamber.settings.cwd,
      ...(tag === undefined ? {} : { tag }),
      pty: input.terminal !== undefined,
      process,
      kept,
      startedAt: performance.now(),
    };
    this.#running.set(program.pid, program);
    const forget = (): boolean =>
      this.#running.get(program.pid) === program && this.#running.delete(program.pid);
    process.exit.then(forget, forget);
    return program;
  }

  /** A line is the shell's of the base system: an image may have no bash. */
  argvOf(command: CommandWords): readonly string[] {
    return typeof command === 'string' ? [this.shell, '-c', command] : command;
  }

  get shell(): string {
    return this.#chamber.settings.env['SHELL'] ?? '/bin/bash';
  }

  list(): readonly Program[] {
    return [...this.#running.values()];
  }

  /** @throws E_USAGE when there is no such command */
  find(pid: number, pty: boolean): Program {
    const program = this.#running.get(pid);
    if (program !== undefined && program.pty === pty) return program;
    throw new GloveboxError('E_USAGE', {
      what: `no ${pty ? 'terminal' : 'background command'} with process number ${pid} runs in this sandbox`,
      next: 'List them with `commands.list()`.',
    });
  }
}

/** Commands of a sandbox. Names and shapes as in E2B where it has them. */
export class Commands {
  readonly #programs: Programs;

  constructor(programs: Programs) {
    this.#programs = programs;
  }

  /**
   * Runs a shell line (a string) or a program (a list).
   *
   * @throws CommandExitError when it ends with another code than 0
   */
  run(command: CommandWords, options: BackgroundOptions): Promise<CommandHandle>;
  run(command: CommandWords, options?: CommandOptions): Promise<CommandResult>;
  async run(
    command: CommandWords,
    options: CommandOptions | BackgroundOptions = {},
  ): Promise<CommandResult | CommandHandle> {
    if (isBackground(options)) return this.#background(command, options);
    const result = await this.start(command, options).wait();
    if (result.exitCode !== 0) throw new CommandExitError(nameOf(command), result);
    return result;
  }

  /** Like `run`, and answers how it ended whatever the code. */
  async exec(command: CommandWords, options: CommandOptions = {}): Promise<CommandResult> {
    return this.start(command, options).wait();
  }

  /** Starts a command and answers at once: await its `wait()`, or iterate over its output. It waits for its reader. */
  start(command: CommandWords, options: CommandOptions = {}): Command {
    const process = this.#programs.start({
      argv: this.#programs.argvOf(command),
      options,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    return new Command(nameOf(command), process, options);
  }

  /** Background commands that run. */
  async list(): Promise<readonly CommandInfo[]> {
    const programs = this.#programs.list().filter((program) => !program.pty);
    return programs.map(({ pid, cmd, args, envs, cwd, tag }) => ({
      pid,
      cmd,
      args,
      envs,
      cwd,
      ...(tag === undefined ? {} : { tag }),
    }));
  }

  /** Another handle of a background command, from a cursor on or from what is still kept. @throws E_USAGE, E_OUTPUT_GONE on reading */
  async connect(pid: number, options: HandleOptions = {}): Promise<CommandHandle> {
    return new CommandHandle(this.#programs.find(pid, false), options);
  }

  /** Kills a background command; false when there is none with this number. */
  async kill(pid: number): Promise<boolean> {
    const program = this.#programs.list().find((one) => one.pid === pid && !one.pty);
    program?.process.kill(9);
    return program !== undefined;
  }

  async sendStdin(pid: number, data: string | Uint8Array): Promise<void> {
    await writeTo(this.#programs.find(pid, false).process, data);
  }

  async closeStdin(pid: number): Promise<void> {
    this.#programs.find(pid, false).process.stdin.end();
  }

  async #background(command: CommandWords, options: BackgroundOptions): Promise<CommandHandle> {
    const program = await this.#programs.background({
      argv: this.#programs.argvOf(command),
      cmd: nameOf(command),
      options,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.tag === undefined ? {} : { tag: options.tag }),
    });
    feedStdin(program.process, options.stdin);
    return new CommandHandle(program, options);
  }
}

const isBackground = (options: CommandOptions | BackgroundOptions): options is BackgroundOptions =>
  'background' in options && options.background;

/** For error texts and lists. */
export const nameOf = (command: CommandWords): string =>
  (typeof command === 'string' ? command : (command[0] ?? '')).slice(0, 200);
