import { Duplex } from 'node:stream';
import { spawnAirlock, type Airlock, type JailExit } from '../../agent/airlock.ts';
import { encodeBootSpec } from '../../agent/boot.ts';
import type { BootSpec } from '../../agent/contract.ts';
import { AgentSession } from '../../agent/session.ts';
import type { LimitName } from '../../policy/contract.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { inTime } from '../../base/within.ts';
import { collectComplaint, type Jail, type MakeBootInput, type SpawnedJail } from '../bubblewrap/driver.ts';
import { seccompProgram } from '../seccomp-program.ts';
import { RUNTIME_OPTIONS } from '../seccomp/rules.ts';
import { containerSpec, guestBoot, jailBoot, type ContainerInput } from './boot.ts';

export interface ContainerLaunch extends ContainerInput {
  readonly mode: BootSpec['mode'];
  /** Limits that the kernel has enforced on the whole jail so far. */
  readonly limitsHit: () => readonly LimitName[];
}

/**
 * Starts the jail, in it the runtime, in it the guest kernel with our agent as its first process. The guest's agent has a channel of its
 * own: the jail's standard output, a socket that the runtime passes on. So there are two sessions, and the jail's own serves for nothing
 * but to know that it is over.
 */
export function spawnContainer(input: ContainerLaunch): SpawnedJail {
  const airlock = spawnAirlock({
    agent: input.agent,
    spec: containerSpec(input),
    mode: 'oneshot',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return {
    boot: async (make) => bootContainer(input, (boot) => airlock.boot(boot), make),
    kill: () => airlock.kill(),
  };
}

type BootAirlock = (make: (ready: Airlock['ready']) => Promise<BootSpec>) => Promise<Airlock>;

async function bootContainer(
  input: ContainerLaunch,
  bootAirlock: BootAirlock,
  make: MakeBootInput,
): Promise<Jail> {
  const made: { guest?: BootSpec } = {};
  const airlock = await bootAirlock(async (ready) => {
    const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
    const [boot, seccomp] = await Promise.all([make(ready), seccompProgram({ arch, ...RUNTIME_OPTIONS })]);
    made.guest = guestBoot(boot);
    return jailBoot(boot, { platform: input.platform, seccomp });
  });
  const channel = airlock.child.stdio[1];
  if (!(channel instanceof Duplex) || made.guest === undefined)
    throw new GloveboxError('E_INTERNAL', { what: 'the jail has no channel for its guest' });
  const said = collectComplaint(airlock.child);
  const complaint = (): string => withoutExpected(said());
  const state = { killed: false };
  const kill = (): void => {
    state.killed = true;
    airlock.child.kill('SIGKILL');
  };
  const session = new AgentSession(channel, {
    airlock: false,
    oneshot: input.mode === 'oneshot',
    explain: async () => {
      const meant = state.killed;
      // The runtime leaves when its guest has; one that does not is ended.
      const timer = setTimeout(() => airlock.child.kill('SIGKILL'), LEAVE_MS);
      const exit = await endOf(airlock);
      clearTimeout(timer);
      return meant ? undefined : crashError(input.limitsHit(), complaint(), exit);
    },
  });
  // It waits in the socket until the guest's agent reads it.
  channel.write(encodeBootSpec(made.guest));
  await guestUp(airlock, { session, complaint, kill });
  return {
    session,
    pid: airlock.child.pid,
    listeners: airlock.listeners,
    exited: endOf(airlock),
    complaint,
    kill,
  };
}

const LEAVE_MS = 2_000;

/** The guest kernel is a process like others: a limit of the jail ends it, and it can fail. */
function crashError(hit: readonly LimitName[], complaint: string, exit: JailExit): GloveboxError {
  if (hit.length > 0) {
    return new GloveboxError('E_LIMIT_EXCEEDED', {
      what: `the sandbox passed its limit: ${hit.join(', ')}`,
      context: { limits: hit },
    });
  }
  return new GloveboxError('E_SANDBOX_CRASHED', {
    what: 'the guest kernel ended by itself',
    why:
      complaint === ''
        ? `its runtime ended with ${exit.signal ?? exit.code}`
        : complaint.slice(-COMPLAINT_SHOWN),
    context: { code: exit.code, signal: exit.signal },
  });
}

/** Our own filter refuses the runtime this registration (RUNTIME_OPTIONS), and each of its processes says so at its start: no reason of an end. */
function withoutExpected(complaint: string): string {
  const lines = complaint.split('\n');
  return lines.filter((line) => !/^W\d{4} .*\bmembarrier\.go:\d+\]/.test(line)).join('\n');
}

/** The end of what the runtime said. */
const COMPLAINT_SHOWN = 1000;

/** A kernel takes its time, which is none of the command's. */
async function guestUp(airlock: Airlock, jail: Pick<Jail, 'session' | 'complaint' | 'kill'>): Promise<void> {
  const { session, complaint, kill } = jail;
  const late = (): GloveboxError =>
    new GloveboxError('E_SANDBOX_START', {
      what: `the guest kernel did not start within ${CAPS.startMs} ms`,
    });
  try {
    await inTime(CAPS.startMs, session.hello, late);
  } catch (error) {
    kill();
    await endOf(airlock);
    throw startError(error, complaint());
  }
}

/** What the runtime said before it ended is the better reason. */
function startError(error: unknown, complaint: string): unknown {
  if (complaint === '' || !isGloveboxError(error) || error.code !== 'E_SANDBOX_START') return error;
  if (error.why !== undefined) return error;
  return new GloveboxError('E_SANDBOX_START', { what: error.what, why: complaint, cause: error });
}

/** The jail's channel closes with the last process of its pid namespace. */
async function endOf({ exited, session }: Airlock): Promise<JailExit> {
  const [exit] = await Promise.all([exited, session.closed]);
  return exit;
}
