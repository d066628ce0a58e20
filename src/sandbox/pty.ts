import type { Programs } from './commands.ts';
import { CommandHandle, type HandleOptions } from './handle.ts';

export interface PtySize {
  readonly cols: number;
  readonly rows: number;
}

export interface PtyCreateOptions extends PtySize, Omit<HandleOptions, 'cursor' | 'onStdout' | 'onStderr'> {
  /** Default an interactive login shell. */
  readonly command?: readonly string[];
  readonly cwd?: string;
  readonly envs?: Readonly<Record<string, string>>;
}

/** Terminals inside a sandbox. Names and shapes as in E2B. */
export class Pty {
  readonly #programs: Programs;

  constructor(programs: Programs) {
    this.#programs = programs;
  }

  /** Starts a terminal; `onData` gets its bytes. */
  async create(options: PtyCreateOptions): Promise<CommandHandle> {
    const { command = [this.#programs.shell, '-i', '-l'], cwd, envs, cols, rows } = options;
    const program = await this.#programs.background({
      argv: command,
      cmd: command[0] ?? '',
      options: { ...(cwd === undefined ? {} : { cwd }), envs: { TERM: 'xterm-256color', ...envs } },
      stdio: ['pty', 'pty', 'pty'],
      terminal: { cols, rows },
    });
    return new CommandHandle(program, options);
  }

  /** Another handle of a running terminal, from a cursor on or from what is still kept. */
  async connect(pid: number, options: HandleOptions = {}): Promise<CommandHandle> {
    return new CommandHandle(await this.#programs.find({ pid, pty: true }, options.cursor), options);
  }

  async resize(pid: number, { cols, rows }: PtySize): Promise<void> {
    await this.#programs.tell({ pid, pty: true }, { rows, cols });
  }

  /** Types something. */
  async sendInput(pid: number, data: string | Uint8Array): Promise<void> {
    await this.#programs.input({ pid, pty: true }, data);
  }

  /** Kills a terminal's process group; false when there is none with this number. */
  async kill(pid: number): Promise<boolean> {
    return this.#programs.kill({ pid, pty: true });
  }
}
