import type { AgentProcess, ExecSpec } from '../agent/contract.ts';
import { KeptOutput, type OutputCursor } from '../agent/kept-output.ts';
import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { stdinLines, type ProgramLine } from './attach/program-lines.ts';
import type { Chamber, ProgramsElsewhere, WhichProgram } from './chamber.ts';
import { insidePath } from './inside.ts';
import { Command, CommandExitError, feedStdin, type CommandOptions, type CommandResult } from './command.ts';
import { CommandHandle, writeTo, type HandleOptions, type Program, type ProgramInfo } from './handle.ts';

/** A shell line, or a program and its arguments. */
export type CommandWords = string | readonly string[];

export interface BackgroundOptions extends CommandOptions {
  /** Answer as soon as it runs; it goes on by itself, and `connect` finds it again. */
  readonly background: true;
  /** A word of the caller's own, for `list`. */
  readonly tag?: string;
}

/** A running background command. Names as in E2B. */
export type CommandInfo = Pick<ProgramInfo, 'pid' | 'cmd' | 'args' | 'envs' | 'cwd' | 'tag'>;

export interface StartInput {
  readonly argv: readonly string[];
  readonly options: Pick<CommandOptions, 'cwd' | 'envs'>;
  readonly stdio: NonNullable<ExecSpec['stdio']>;
  readonly terminal?: ExecSpec['terminal'];
}

/** signal(7) */
const SIGKILL = 9;

/** Starts commands of one sandbox and knows those in the background. */
export class Programs {
  readonly #chamber: Chamber;

  constructor(chamber: Chamber) {
    this.#chamber = chamber;
  }

  /** @throws E_SANDBOX_CLOSED, E_LIMIT_EXCEEDED, E_CWD_INVALID */
  start({ argv, options, stdio, terminal }: StartInput): AgentProcess {
    const { settings, channel } = this.#chamber;
    this.#chamber.refuseEnded();
    this.#chamber.touch();
    if (!Array.isArray(argv) || !argv.every((word) => typeof word === 'string'))
      throw new GloveboxError('E_USAGE', {
        what: 'a command is a shell line or a list of strings',
        next: "Use `run('ls -l')` or `run(['ls', '-l'])`.",
      });
    const cwd = this.#startDir(options.cwd);
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
  async background(
    input: StartInput & { readonly cmd: string; readonly tag?: string },
  ): Promise<Program & { readonly process: AgentProcess }> {
    const { argv, cmd, options, tag } = input;
    const process = this.start(input);
    const kept = new KeptOutput(process, { overflow: 'drop-oldest' });
    const program = {
      pid: await process.started,
      cmd,
      args: argv.slice(1),
      envs: options.envs ?? {},
      cwd: this.#startDir(options.cwd),
      ...(tag === undefined ? {} : { tag }),
      pty: input.terminal !== undefined,
      process,
      kept,
      startedAt: performance.now(),
    };
    const { programs } = this.#chamber;
    programs.set(program.pid, program);
    const forget = (): boolean => programs.get(program.pid) === program && programs.delete(program.pid);
    process.exit.then(forget, forget);
    return program;
  }

  /** Relative ones begin at the workspace, like paths of files. @throws E_CWD_INVALID */
  #startDir(cwd: string | undefined): string {
    const { settings } = this.#chamber;
    return cwd === undefined ? settings.cwd : insidePath(cwd, settings.cwd, 'E_CWD_INVALID');
  }

  /** A line is the shell's of the base system: an image may have no bash. */
  argvOf(command: CommandWords): readonly string[] {
    return typeof command === 'string' ? [this.shell, '-c', command] : command;
  }

  get shell(): string {
    return this.#chamber.settings.env['SHELL'] ?? '/bin/bash';
  }

  /** Those of this process, and of the sandbox's owner where that is another one. */
  async list(): Promise<readonly ProgramInfo[]> {
    this.#chamber.refuseEnded();
    const { programs, elsewhere } = this.#chamber;
    return [...programs.values(), ...((await elsewhere?.list()) ?? [])];
  }

  /** @throws E_USAGE when there is no such command */
  async find(which: WhichProgram, cursor: Partial<OutputCursor> | undefined): Promise<Program> {
    const program = this.#own(which);
    if (program !== undefined) return program;
    return this.#distant(which, (elsewhere) => elsewhere.open(which, cursor));
  }

  /** Resolves when the bytes were taken over. @throws E_USAGE */
  async input(which: WhichProgram, data: string | Uint8Array): Promise<void> {
    const program = this.#own(which);
    if (program !== undefined) return writeTo(program.process, data);
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    return this.#distant(which, (elsewhere) => elsewhere.tell(which, stdinLines(bytes)));
  }

  /** @throws E_USAGE */
  async tell(which: WhichProgram, line: ProgramLine): Promise<void> {
    const process = this.#own(which)?.process;
    if (process === undefined) return this.#distant(which, (elsewhere) => elsewhere.tell(which, [line]));
    if ('eof' in line) process.stdin.end();
    else if ('signal' in line) process.kill(line.signal);
    else if ('rows' in line) process.resize(line.rows, line.cols);
  }

  /** False when there is none with this number. */
  async kill(which: WhichProgram): Promise<boolean> {
    return this.tell(which, { signal: SIGKILL }).then(
      () => true,
      (error: unknown) => {
        if (isGloveboxError(error) && error.code === 'E_USAGE') return false;
        throw error;
      },
    );
  }

  #own({ pid, pty }: WhichProgram): Program | undefined {
    const program = this.#chamber.programs.get(pid);
    return program?.pty === pty ? program : undefined;
  }

  async #distant<T>(
    { pid, pty }: WhichProgram,
    ask: (elsewhere: ProgramsElsewhere) => Promise<T>,
  ): Promise<T> {
    const { elsewhere } = this.#chamber;
    this.#chamber.refuseEnded();
    try {
      if (elsewhere !== undefined) return await ask(elsewhere);
    } catch (error) {
      if (!isGloveboxError(error) || error.code !== 'E_USAGE') throw error;
    }
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
    const programs = (await this.#programs.list()).filter((program) => !program.pty);
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
    return new CommandHandle(await this.#programs.find({ pid, pty: false }, options.cursor), options);
  }

  /** Kills a background command; false when there is none with this number. */
  async kill(pid: number): Promise<boolean> {
    return this.#programs.kill({ pid, pty: false });
  }

  async sendStdin(pid: number, data: string | Uint8Array): Promise<void> {
    await this.#programs.input({ pid, pty: false }, data);
  }

  async closeStdin(pid: number): Promise<void> {
    await this.#programs.tell({ pid, pty: false }, { eof: true });
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
