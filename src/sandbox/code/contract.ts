/** Languages of a code context. */
export type CodeLanguage = 'python' | 'javascript' | 'typescript' | 'bash';

/** What a cell shows: its last value (`isMainResult`), or something it displayed. Names as in E2B's `Result`. */
export interface Result {
  readonly text?: string;
  readonly html?: string;
  readonly markdown?: string;
  readonly svg?: string;
  /** Base64. */
  readonly png?: string;
  /** Base64. */
  readonly jpeg?: string;
  /** Base64. */
  readonly pdf?: string;
  readonly latex?: string;
  readonly json?: unknown;
  readonly javascript?: string;
  /** A table as `{ column: [values] }`. */
  readonly data?: Readonly<Record<string, readonly unknown[]>>;
  readonly chart?: Chart;
  /** By MIME type, what has no name here. */
  readonly extra?: Readonly<Record<string, unknown>>;
  readonly isMainResult: boolean;
  /** Names of the forms that are there, such as `['text', 'png']`. */
  formats(): readonly string[];
}

/** A plot as data. What stands inside was written by the sandbox: treat it as such. */
export interface Chart {
  readonly type: 'line' | 'scatter' | 'bar' | 'pie' | 'box_and_whisker' | 'superchart' | 'unknown';
  readonly title?: string | null;
  readonly elements: readonly unknown[];
  readonly [key: string]: unknown;
}

/** An error that ended a cell, as data. */
export interface ExecutionError {
  readonly name: string;
  readonly value: string;
  readonly traceback: string;
  /** errno(3), where the system refused something. */
  readonly errno?: number;
  /** The path it was refused for. */
  readonly path?: string;
}

/** How one cell went. A cell that fails is an answer, not an exception. */
export interface Execution {
  readonly results: readonly Result[];
  /** Output as it came, in pieces. */
  readonly logs: { readonly stdout: readonly string[]; readonly stderr: readonly string[] };
  readonly error?: ExecutionError;
  /** Of bash: the status of the last command. Of others: what the cell asked to exit with. */
  readonly exitCode?: number;
  /** Counts the cells of a context, from 1. */
  readonly executionCount: number;
  /** Text of the main result. */
  readonly text?: string;
  readonly timedOut: boolean;
  /** True when the kernel had to be ended, or ended itself: what the context held is gone, and the next cell starts anew. */
  readonly contextLost: boolean;
  /** A limit of the policy that the cell was ended for: it wrote more than `limits.output`. */
  readonly limit?: 'output';
  /** True when more was written or shown than was kept. */
  readonly truncated: boolean;
  readonly durationMs: number;
}

export interface RunCodeOptions {
  /** Default `python`. A language has one context of its own for calls that name none. */
  readonly language?: CodeLanguage;
  /** A context of `createCodeContext`, or its id. */
  readonly context?: CodeContext | string;
  /** Added to the environment of a context that this call has to start. */
  readonly envs?: Readonly<Record<string, string>>;
  /** Milliseconds; default 60,000, 0 for none. The cell is interrupted, and its kernel ended when it does not heed that. */
  readonly timeoutMs?: number;
  /** Interrupts the cell when aborted. */
  readonly signal?: AbortSignal;
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
  readonly onResult?: (result: Result) => void;
  readonly onError?: (error: ExecutionError) => void;
}

export interface CodeContextOptions {
  /** Default `python`. */
  readonly language?: CodeLanguage;
  /** Directory inside; default the workspace. */
  readonly cwd?: string;
  readonly envs?: Readonly<Record<string, string>>;
  /** Gets what programs that earlier cells left running write while no cell runs; during a cell it is that cell's output. */
  readonly onBackground?: (stream: 'stdout' | 'stderr', text: string) => void;
}

/** A namespace that lives on between cells. */
export interface CodeContext {
  readonly id: string;
  readonly language: CodeLanguage;
  readonly cwd: string;
}
