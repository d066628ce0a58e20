import type { Duplex, Readable, Writable } from 'node:stream';
import type { AgentFileAccess } from '../../agent/files-contract.ts';
import type { CodeLanguage, Result } from '../code/contract.ts';

/** What a handler's command ends with. Default: nothing more to say, code 0. */
export interface HandlerResult {
  readonly stdout?: string | Uint8Array;
  readonly stderr?: string | Uint8Array;
  readonly exitCode?: number;
}

/** What a handler may use of its sandbox. */
export interface HandlerContext {
  /** A shell line, when it was run as one. */
  readonly line?: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: Readable;
  /** Writes as it goes, for streaming; the command waits when nobody reads, as a real one does. */
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly files: AgentFileAccess;
  /** Aborted when the command is killed or its sandbox ends; what the handler does then counts for nothing. */
  readonly signal: AbortSignal;
  /** Of a terminal: its size, and what follows it. */
  readonly terminal?: { readonly cols: number; readonly rows: number };
  readonly onResize: (follow: (size: { readonly cols: number; readonly rows: number }) => void) => void;
  /** Listens on a port of the sandbox until the command ends. */
  readonly listen: (port: number, accept: (connection: Duplex) => void) => void;
}

/** Plays a program. A throw is exit code 1 with its message on stderr. */
export type CommandHandler = (
  argv: readonly string[],
  context: HandlerContext,
) => HandlerResult | void | Promise<HandlerResult | void>;

/** A piece of code that a context runs. */
export interface CodeCell {
  readonly code: string;
  readonly language: CodeLanguage;
  /** What the cells of one context share, and a restart empties. */
  readonly state: Map<string, unknown>;
  /** Aborted by an interrupt or a timeout. */
  readonly signal: AbortSignal;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  readonly display: (result: CodeDisplay) => void;
}

/** Something shown: a `Result` without what is added to it. */
export type CodeDisplay = Partial<Omit<Result, 'isMainResult' | 'formats'>>;

export interface CodeAnswer {
  readonly stdout?: string;
  readonly stderr?: string;
  /** The value of the cell. */
  readonly result?: CodeDisplay;
  readonly error?: { readonly name: string; readonly value: string; readonly traceback?: string };
  readonly exitCode?: number;
}

/** Plays every interpreter. A throw is an error of the cell. */
export type CodeHandler = (cell: CodeCell) => CodeAnswer | void | Promise<CodeAnswer | void>;

/** What a double is played by. */
export interface Handlers {
  /** By program name: `git` plays `['git', …]`, `['/usr/bin/git', …]` and the shell line `git …`. */
  readonly commands?: Readonly<Record<string, CommandHandler>>;
  /** Everything that no name above has; without it, that is a program which does not exist. */
  readonly otherwise?: CommandHandler;
  readonly code?: CodeHandler;
}
