import { spawn } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { Duplex } from 'node:stream';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { killGroup } from '../base/process-group.ts';
import { inTime } from '../base/within.ts';
import { encodeAirlockSpec, encodeBootSpec } from './boot.ts';
import type { AirlockReady, AirlockSpec, BootSpec, Identity } from './contract.ts';
import { AgentSession } from './session.ts';

/** What the airlock stage is started with. */
export interface AirlockLaunch {
  /** Path of the agent on the host. */
  readonly agent: string;
  readonly spec: Omit<AirlockSpec, 'parentPid'>;
  readonly mode: BootSpec['mode'];
  /** stdin, stdout, stderr of the jail, as for `spawn`; a terminal or a directory is refused. */
  readonly stdio: readonly [
    'ignore' | 'pipe' | number,
    'ignore' | 'pipe' | number,
    'ignore' | 'pipe' | number,
  ];
  /** Runs the jail as this user; only root can. Default: the caller. */
  readonly identity?: Identity;
  /** Time from `boot` until the listeners are there, in milliseconds. Default `CAPS.startMs`. */
  readonly timeoutMs?: number;
}

/** A jail that is starting: its listeners accept already, the inside stage answers on `session.hello`. */
export interface Airlock {
  readonly child: ChildProcess;
  readonly session: AgentSession;
  readonly ready: AirlockReady;
  /** Handles by listener id: TCP for `net.Server.listen`, UDP for `dgram.Socket.bind`. */
  readonly listeners: ReadonlyMap<number, unknown>;
  /** When the outermost process of the jail is gone. */
  readonly exited: Promise<JailExit>;
}

export interface JailExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Asked for when the airlock stands. When it throws, the jail is ended. */
export type MakeBoot = (ready: AirlockReady) => BootSpec | Promise<BootSpec>;

/** An airlock stage at work. Nothing of the user's runs before `boot`. */
export interface SpawnedAirlock {
  /** Waits for the listeners and tells the inside stage what to do. */
  boot(make: MakeBoot): Promise<Airlock>;
  /** KILL; resolves when it is gone. */
  kill(): Promise<void>;
}

/**
 * Starts the airlock stage and sends its specification; whatever the caller does before `boot` overlaps with its work. `boot`
 * throws `E_SANDBOX_START`, `E_MASK_LOST` or `E_PROTOCOL`; nothing is left running then.
 */
export function spawnAirlock(launch: AirlockLaunch): SpawnedAirlock {
  const spec = encodeAirlockSpec({ ...launch.spec, parentPid: process.pid });
  const stdio: StdioOptions = [...launch.stdio, 'ipc', 'pipe'];
  const child = spawn(launch.agent, ['airlock'], { stdio, detached: true, env: {}, ...launch.identity });
  const exited = exitOf(child);
  const kill = async (): Promise<void> => {
    killGroup(child);
    await exited;
  };
  const channel = child.stdio[4];
  if (!(channel instanceof Duplex)) {
    const boot = async (): Promise<never> => {
      throw notExecutable(launch.agent, (await exited).why);
    };
    return { boot, kill };
  }
  const session = new AgentSession(channel, { oneshot: launch.mode === 'oneshot' });
  const listeners = new Map<number, unknown>();
  const handedOver = launch.spec.network ? collectListeners(child, listeners) : Promise.resolve();
  channel.write(spec);
  const standing = Promise.all([session.ready, handedOver]).then(([ready]) => ready);
  standing.catch(() => undefined);
  const boot = (make: MakeBoot): Promise<Airlock> =>
    bootJail({ child, session, listeners, exited }, launch, { channel, standing, make });
  return { boot, kill };
}

interface Booting {
  readonly channel: Duplex;
  readonly standing: Promise<AirlockReady>;
  readonly make: MakeBoot;
}

async function bootJail(
  jail: Omit<Airlock, 'ready' | 'exited'> & { readonly exited: Promise<JailExit & { readonly why: string }> },
  launch: AirlockLaunch,
  { channel, standing, make }: Booting,
): Promise<Airlock> {
  const { child, session, exited } = jail;
  // After READY only: writing to a stage that has failed would throw away the reason it gave.
  const booted = standing.then(async (ready) => {
    channel.write(encodeBootSpec(await make(ready)));
    return ready;
  });
  try {
    return { ...jail, ready: await withTimeout(booted, session, launch.timeoutMs) };
  } catch (error) {
    killGroup(child);
    session.destroy();
    const { why } = await exited;
    throw why === '' ? error : notExecutable(launch.agent, why);
  }
}

function notExecutable(agent: string, why: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what: `cannot execute ${agent}`, why });
}

function exitOf(child: ChildProcess): Promise<JailExit & { readonly why: string }> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, why: error.message }));
    child.once('exit', (code, signal) => resolve({ code, signal, why: '' }));
  });
}

/** The airlock speaks Node's own IPC protocol: one message with a handle for each listener, then `{ready: true}`. */
function collectListeners(child: ChildProcess, into: Map<number, unknown>): Promise<void> {
  return new Promise((resolve) => {
    child.on('message', (message: unknown, handle: unknown) => {
      if (typeof message !== 'object' || message === null) return;
      if ('id' in message && typeof message.id === 'number') into.set(message.id, handle);
      if ('ready' in message) resolve();
    });
  });
}

async function withTimeout<T>(
  work: Promise<T>,
  session: AgentSession,
  limitMs: number = CAPS.startMs,
): Promise<T> {
  const late = (): GloveboxError =>
    new GloveboxError('E_SANDBOX_START', { what: `the sandbox did not start within ${limitMs} ms` });
  const lost = session.closed.then((reason) => {
    throw reason ?? new GloveboxError('E_SANDBOX_START', { what: 'the sandbox ended while it started' });
  });
  return inTime(limitMs, Promise.race([work, lost]), late);
}
