import type { Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { isGloveboxError } from '../../base/errors.ts';
import { callFirecracker } from './client.ts';
import { dialGuest } from './channel.ts';
import { PORTS, SOCKETS } from './layout.ts';
import type { ApiCall } from './requests.ts';

export interface StartInput {
  /** The host's directory that is `PLACES.sockets` in the jail. */
  readonly sockets: string;
  /** Of `bootCalls` or `restoreCalls`. */
  readonly calls: readonly ApiCall[];
  /** For all of it. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Between two looks for the API's socket, which is there some milliseconds after Firecracker was started. */
const AGAIN_MS = 2;

/**
 * Tells a Firecracker that was just started what to run, call by call, and connects to the guest's first process. The first call that is
 * refused is the last.
 *
 * @throws E_SANDBOX_START, E_PROTOCOL, E_ABORTED
 */
export async function startMachine(input: StartInput): Promise<Socket> {
  const { sockets, calls, signal } = input;
  const until = performance.now() + input.timeoutMs;
  const left = (): number => Math.max(1, Math.ceil(until - performance.now()));
  const options = signal === undefined ? {} : { signal };
  for (const [index, call] of calls.entries()) {
    const say = (): Promise<void> =>
      callFirecracker(path.join(sockets, SOCKETS.api), call, { ...options, timeoutMs: left() });
    // oxlint-disable-next-line no-await-in-loop -- each call builds on the one before
    await (index === 0 ? whenThere(say, until, signal) : say());
  }
  return dialGuest({
    ...options,
    socket: path.join(sockets, SOCKETS.guest),
    port: PORTS.agent,
    timeoutMs: left(),
  });
}

async function whenThere(
  say: () => Promise<void>,
  until: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (;;) {
    try {
      // oxlint-disable-next-line no-await-in-loop
      return await say();
    } catch (error) {
      if (!isAbsent(error) || signal?.aborted === true || performance.now() >= until) throw error;
    }
    // oxlint-disable-next-line no-await-in-loop
    await pause(AGAIN_MS);
  }
}

const isAbsent = (error: unknown): boolean =>
  isGloveboxError(error) && ['ENOENT', 'ECONNREFUSED'].includes(String(error.context['code']));
