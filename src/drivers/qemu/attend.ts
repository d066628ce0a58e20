import type { Duplex } from 'node:stream';
import type { Airlock, JailExit } from '../../agent/airlock.ts';
import { AgentSession } from '../../agent/session.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import { inTime } from '../../base/within.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { HeldMachine, Jail } from '../bubblewrap/driver.ts';
import type { ConsoleTail } from './console.ts';
import { crashError, died, withConsole } from './crash.ts';
import { Watchdog } from './watchdog.ts';

/** What stays with a machine that has come up. */
export interface Attended {
  readonly session: AgentSession;
  readonly watchdog: Watchdog;
}

/** A machine that was started, whatever executes it. */
export interface StartedMachine {
  /** What executes it, for people: `QEMU`. */
  readonly hypervisor: string;
  /** The outermost process of its jail. */
  readonly child: Airlock['child'];
  /** Resolves when the jail is gone, and what it alone used. */
  readonly exited: Promise<JailExit>;
  readonly tail: ConsoleTail;
  readonly listeners: Jail['listeners'];
  readonly outside: NonNullable<Jail['outside']>;
  readonly oneshot: boolean;
  /** How long its agent may take to say hello, once it was told everything. Default `CAPS.machineStartMs`. */
  readonly helloMs?: number;
  /** Limits that the kernel has enforced on the whole jail so far. */
  readonly limitsHit: () => readonly LimitName[];
  /** Resolves with the guest's channel when the machine waits to be told what it is. `dead` rejects when it has ended. */
  comesUp(dead: Promise<never>): Promise<Duplex>;
  /** Tells it. */
  tell(channel: Duplex): Promise<void>;
  /** Resolves when its sandbox has ended and the machine still has something to do. */
  readonly leaving?: Promise<void>;
  /** What stops it as a whole, where that is possible. */
  hold?(parts: Attended): HeldMachine;
  /** Given a way to end the machine for a reason, before it comes up. */
  watch?(end: (verdict: string) => void): void;
}

/** How long a machine whose first process has ended may take to switch itself off, in ms. */
const LEAVE_MS = 5_000;

/**
 * Brings a machine up to the agent's first word and stays with it: its console, a watchdog, its end with a reason.
 *
 * @throws E_SANDBOX_START, E_PROTOCOL, and what the guest's agent refuses its start with
 */
export async function attend(machine: StartedMachine): Promise<Jail> {
  const { child, exited, tail, listeners, outside, hypervisor } = machine;
  const fate: Fate = { killed: false, outOfMemory: false, told: false };
  machine.watch?.((verdict) => end(machine, fate, verdict));
  const dead = exited.then((exit) => died({ tail, exit, hypervisor, told: fate.told }));
  dead.catch(() => undefined);
  // When it ends, its console has more to say than its channel.
  const channel = await inTime(CAPS.machineStartMs, Promise.race([machine.comesUp(dead), dead]), () =>
    notUp(CAPS.machineStartMs),
  );
  const session = new AgentSession(channel, {
    airlock: false,
    oneshot: machine.oneshot,
    onOutOfMemory: () => (fate.outOfMemory = true),
    explain: () => explain(machine, fate),
  });
  fate.told = true;
  await Promise.race([machine.tell(channel), dead]);
  await greeting(session, machine);
  const watchdog = new Watchdog({
    channel,
    ping: () => session.ping(),
    onHung: () => end(machine, fate, 'its guest has not answered for half a minute'),
  });
  void exited.then(() => watchdog[Symbol.dispose]());
  // The agent has said goodbye, and nobody answers for it.
  void machine.leaving?.then(() => watchdog[Symbol.dispose]());
  return {
    session,
    pid: child.pid,
    listeners,
    exited,
    complaint: () => tail.lastWords(),
    kill: () => {
      fate.killed = true;
      child.kill('SIGKILL');
    },
    hit: () => hits(machine, fate),
    outside,
    ...(machine.hold === undefined ? {} : { machine: machine.hold({ session, watchdog }) }),
  };
}

/** What is known of a machine's end before it comes. */
interface Fate {
  /** Somebody asked for it. */
  killed: boolean;
  /** The machine knows which sandbox it is. */
  told: boolean;
  /** Why we ended it. */
  verdict?: string;
  outOfMemory: boolean;
}

function end({ child }: StartedMachine, fate: Fate, verdict: string): void {
  fate.verdict ??= verdict;
  child.kill('SIGKILL');
}

function hits({ limitsHit }: StartedMachine, { outOfMemory }: Fate): readonly LimitName[] {
  return [...new Set([...limitsHit(), ...(outOfMemory ? (['memory'] as const) : [])])];
}

/** Why a channel ended that should not have; nothing where that was meant. */
async function explain(machine: StartedMachine, fate: Fate): Promise<GloveboxError | undefined> {
  const { child, exited, tail, hypervisor } = machine;
  const meant = fate.killed;
  // A machine whose first process has ended switches itself off; one that does not is ended.
  const timer = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS);
  const exit = await exited;
  clearTimeout(timer);
  if (meant) return undefined;
  const verdict = fate.verdict === undefined ? {} : { verdict: fate.verdict };
  return crashError({ exit, tail, hypervisor, hit: hits(machine, fate), ...verdict });
}

async function greeting(
  session: AgentSession,
  { helloMs = CAPS.machineStartMs, tail }: StartedMachine,
): Promise<void> {
  try {
    await inTime(helloMs, session.hello, () => notUp(helloMs));
  } catch (error) {
    throw withConsole(error, tail);
  }
}

function notUp(limitMs: number): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what: `the machine did not start within ${limitMs} ms` });
}
