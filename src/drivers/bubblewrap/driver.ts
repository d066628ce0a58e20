import type { ChildProcess } from 'node:child_process';
import { spawnAirlock, type Airlock, type JailExit } from '../../agent/airlock.ts';
import type { AirlockReady, BootSpec } from '../../agent/contract.ts';
import type { AgentSession } from '../../agent/session.ts';
import type { ContainmentUsage } from '../contract.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { CurrentUsage } from '../limits/usage.ts';
import { airlockSpec, bootSpec, type AirlockInput, type BootInput } from './spec.ts';

/** Where the jail's first three descriptors come from; `inherit` is only for what `chooseStdio` found harmless. */
export type JailStdio = readonly ['inherit' | 'ignore', 'inherit' | 'ignore', 'inherit' | 'pipe'];

export interface JailInput extends AirlockInput {
  readonly mode: BootSpec['mode'];
  readonly stdio: JailStdio;
}

/** Asked for when the airlock stands. When it throws, the jail is ended. */
export type MakeBootInput = (ready: AirlockReady) => BootInput | Promise<BootInput>;

/** A jail whose airlock is at work. */
export interface SpawnedJail {
  /** Nothing of the user's runs before this. @throws E_SANDBOX_START, E_MASK_LOST, E_PROTOCOL; nothing is left running then */
  boot(make: MakeBootInput): Promise<Jail>;
  /** Ends it; resolves when it is gone. */
  kill(): Promise<void>;
}

/** A jail whose airlock stands. */
export interface Jail {
  readonly session: AgentSession;
  /** Of the outermost process; undefined when it ended at once. */
  readonly pid: number | undefined;
  /** Sockets of the sandbox's network namespace, by listener id. */
  readonly listeners: ReadonlyMap<number, unknown>;
  /** Resolves when the outermost process is gone, and with it the whole pid namespace. */
  readonly exited: Promise<JailExit>;
  /** What the airlock or bubblewrap said on stderr, when that was a pipe. */
  complaint(): string;
  /** KILL to the outermost process. */
  kill(): void;
  /** Where it is a machine: stopped and copied as a whole. */
  readonly machine?: HeldMachine;
  /** Limits that were passed inside, where a kernel of its own holds them. */
  hit?(): readonly LimitName[];
  /** What it used, where it is an engine that holds the limits. */
  readonly measured?: { usage(): ContainmentUsage; current(): CurrentUsage };
  /** What it has on this machine besides its outermost process and what every sandbox has, for the receipt. */
  readonly outside?: readonly OutsidePart[];
}

/** A machine that the host stops as a whole. */
export interface HeldMachine {
  /** Resolves when nothing of it runs. @throws E_TIMEOUT when a process inside cannot be stopped, E_SANDBOX_LOST */
  pause(): Promise<void>;
  /** Resolves when it runs, with a clock that is right. @throws E_SANDBOX_LOST */
  resume(): Promise<void>;
  /** Stops it, writes it to a new file of 0600, and lets it go on. Absent: it cannot be copied. @throws E_SANDBOX_START, E_IO */
  copy?(file: string): Promise<void>;
  /** Why it cannot be copied. */
  readonly uncopied?: string;
}

/** Something of a jail's on this machine that its driver can look for. */
export interface OutsidePart {
  readonly kind: 'container' | 'process' | 'directory';
  readonly name: string;
  present(): boolean;
}

/** More than this of complaints is not read by anybody. */
const COMPLAINT_CHARS = 4096;

/**
 * Starts the airlock, which becomes bubblewrap, which becomes the agent. They form a session of their own: keys typed at
 * the terminal reach Glovebox only, and are forwarded.
 */
export function spawnJail(input: JailInput): SpawnedJail {
  const { agent, mode } = input;
  const [stdin, stdout, stderr] = input.stdio;
  const airlock = spawnAirlock({
    agent,
    spec: airlockSpec(input),
    mode,
    stdio: [
      stdin === 'inherit' ? 0 : 'ignore',
      stdout === 'inherit' ? 1 : 'ignore',
      stderr === 'inherit' ? 2 : 'pipe',
    ],
  });
  const boot = (make: MakeBootInput): Promise<Airlock> =>
    airlock.boot(async (ready) => bootSpec(await make(ready)));
  return { boot: async (make) => jailOf(await boot(make)), kill: () => airlock.kill() };
}

function jailOf({ child, session, listeners, exited }: Airlock): Jail {
  return {
    session,
    pid: child.pid,
    listeners,
    exited,
    complaint: collectComplaint(child),
    kill: () => void child.kill('SIGKILL'),
  };
}

/** What a jail's outermost process says on stderr; nothing when that is no pipe. */
export function collectComplaint(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    if (text.length < COMPLAINT_CHARS) text += chunk.toString('utf8');
  });
  return () => text.slice(0, COMPLAINT_CHARS).trim();
}
