/** What a command may touch of the outside; tests hand in their own. */
export interface CliIo {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly stdin: NodeJS.ReadStream;
  readonly env: NodeJS.ProcessEnv;
  /** Absolute. */
  readonly cwd: string;
  /** `--json` was given before or after the command's name. */
  readonly json: boolean;
}

/** One verb of the command line. */
export interface CliCommand {
  readonly name: string;
  /** One line for `glovebox help`. */
  readonly summary: string;
  /** Full help text. */
  readonly usage: string;
  /** Returns the exit code; throws GloveboxError. */
  run(args: readonly string[], io: CliIo): Promise<number>;
}
