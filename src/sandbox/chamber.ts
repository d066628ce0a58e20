import type { AgentChannel } from '../agent/contract.ts';
import type { OutputCursor } from '../agent/kept-output.ts';
import type { Plan } from '../drivers/contract.ts';
import type { Comparison } from '../review/compare.ts';
import type { ProgramLine } from './attach/program-lines.ts';
import type { EndReport } from './end.ts';
import type { Program, ProgramInfo } from './handle.ts';
import type { Network, SandboxOptions } from './options.ts';
import type { PublishedPort } from './publish.ts';

/** What is known of a sandbox, to its owner and to others. Names as in E2B; times in milliseconds since the epoch. */
export interface SandboxInfo {
  readonly sandboxId: string;
  readonly name?: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tier: string;
  /** What built it: `bubblewrap`, `gvisor`, `docker` or `podman`. */
  readonly driver: string;
  readonly workspace: string;
  readonly startedAt: number;
  /** Absent: no end is set. */
  readonly endAt?: number;
  readonly state: 'running' | 'paused';
  /** The process that made it, and with which it ends. */
  readonly ownerPid: number;
}

/** How much a sandbox uses. Names as in E2B; bytes; absent where the machine does not count it. */
export interface SandboxMetrics {
  /** Milliseconds since the epoch. */
  readonly timestamp: number;
  /** Of all its CPUs, since the last call; 100 is all of them busy. */
  readonly cpuUsedPct: number;
  readonly cpuCount: number;
  readonly cpuMs?: number;
  readonly memUsed?: number;
  readonly memTotal: number;
  /** Processes and threads. */
  readonly pids?: number;
  /** Of the file system that the workspace lies on. */
  readonly diskUsed: number;
  readonly diskTotal: number;
}

/** Background commands that another process holds. */
export interface ProgramsElsewhere {
  list(): Promise<readonly ProgramInfo[]>;
  /** @throws E_USAGE when there is none with that number */
  open(which: WhichProgram, cursor: Partial<OutputCursor> | undefined): Promise<Program>;
  /** Resolves when it was taken. @throws E_USAGE when there is none with that number */
  tell(which: WhichProgram, lines: readonly ProgramLine[]): Promise<void>;
}

export type WhichProgram = Pick<ProgramInfo, 'pid' | 'pty'>;

/** What a command needs to know of the sandbox it runs in. */
export interface CommandSettings {
  /** Where relative paths begin. */
  readonly cwd: string;
  /** The environment of every command, before what it adds itself. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * What stands behind a `Sandbox`: one that this process owns, one that another process owns, or one in memory for tests. The class
 * is the same for all three.
 */
export interface Chamber {
  readonly id: string;
  readonly channel: AgentChannel;
  readonly settings: CommandSettings;
  readonly ports: readonly PublishedPort[];
  /** Absent where the sandbox is not this process's own. */
  readonly plan?: Plan;
  readonly network: Network;
  /** To make another one like it. Absent where the sandbox is not this process's own. */
  readonly madeWith?: SandboxOptions;
  /** Commands in the background that handles of this process started, by process number. */
  readonly programs: Map<number, Program>;
  /** Those of the sandbox's owner, where that is another process. */
  readonly elsewhere?: ProgramsElsewhere;
  /** Ports inside that belong to the gateway. */
  readonly gatewayPorts: readonly number[];
  info(): Promise<SandboxInfo>;
  metrics(): Promise<SandboxMetrics>;
  /** Writes the record of a command before it starts. */
  record(argv: readonly string[], cwd: string): void;
  /** Something was asked of the sandbox: it is not idle. */
  touch(): void;
  /** @throws E_SANDBOX_CLOSED when it has ended */
  refuseEnded(): void;
  /** Absent where the sandbox is not this process's own. @throws E_USAGE when it works on the workspace itself */
  changes?(): Promise<Comparison>;
  setTimeout(timeoutMs: number): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Copies of it that this process owns. Absent where the sandbox is not this process's own. @throws as `Sandbox.fork` */
  fork?(count: number): Promise<readonly Chamber[]>;
  /** Ends the sandbox; for one that has ended, the same report again. */
  kill(): Promise<EndReport>;
  /** Lets go of it; whoever owns it keeps it. */
  disconnect(): void;
}
