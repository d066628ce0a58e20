import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { connectTo } from './sockets.ts';

/** `OK` and a port of 32 bits; what is longer is no acknowledgement. */
const LINE_BYTES = 32;

/** A request that arrives while the guest still clears its old connections is never answered, so a new one is made. */
const ATTEMPT_MS = 500;

/** Between two attempts; a guest boots for a hundred times as long. */
const AGAIN_MS = 5;

export interface DialInput {
  /** The host's path of the socket that the machine's `uds_path` names. */
  readonly socket: string;
  /** Port that the guest's first process listens on. */
  readonly port: number;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Connects to a port of the guest (Firecracker, docs/vsock.md, host-initiated connections): `CONNECT PORT`, answered by `OK` and the
 * host's own port as soon as the guest accepts; a port without a listener ends the connection. Until the guest is there that is what
 * happens, so it is tried again until `timeoutMs` are over. The connection comes paused: what followed the answer is the guest's, and
 * still to be read.
 *
 * @throws E_SANDBOX_START when nobody listened in time, E_PROTOCOL for another answer, E_ABORTED
 */
export async function dialGuest({ socket, port, timeoutMs, signal }: DialInput): Promise<Socket> {
  const until = performance.now() + timeoutMs;
  for (;;) {
    if (signal?.aborted === true) throw new GloveboxError('E_ABORTED', { what: 'the start was given up' });
    const left = until - performance.now();
    if (left <= 0) throw silent(port, timeoutMs);
    // oxlint-disable-next-line no-await-in-loop -- one after the other is what it means to try again
    const found = await attempt(socket, port, Math.min(left, ATTEMPT_MS));
    if (found !== undefined) return found;
    // oxlint-disable-next-line no-await-in-loop
    await pause(AGAIN_MS);
  }
}

/** One handshake; undefined when there was nobody. @throws E_PROTOCOL */
function attempt(socket: string, port: number, timeoutMs: number): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const connection = connected(socket);
    if (connection === undefined) return resolve(undefined);
    let said = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      said = Buffer.concat([said, chunk]);
      const end = said.indexOf(0x0a);
      if (end === -1 && said.length < LINE_BYTES) return;
      if (end === -1 || !isAcknowledgement(said.subarray(0, end))) return drop(() => reject(garbage()));
      release();
      resolve(handOver(connection, said.subarray(end + 1)));
    };
    const onClose = (): void => drop(() => resolve(undefined));
    const onError = (error: Error): void =>
      drop(() => (isAbsence(error) ? resolve(undefined) : reject(error)));
    const release = (): void => {
      clearTimeout(timer);
      connection.off('data', onData).off('close', onClose).off('error', onError);
    };
    const drop = (act: () => void): void => {
      release();
      connection.on('error', () => undefined).destroy();
      act();
    };
    const timer = setTimeout(onClose, timeoutMs);
    connection.on('data', onData).on('close', onClose).on('error', onError);
    connection.once('connect', () => connection.write(`CONNECT ${port}\n`));
  });
}

/** Undefined where nothing is. @throws E_SANDBOX_START */
function connected(socket: string): Socket | undefined {
  try {
    return connectTo(socket);
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

/** Nobody was there, or nobody any more. */
const isAbsence = (error: unknown): boolean =>
  ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(systemCode(error) ?? '');

const isAcknowledgement = (line: Buffer): boolean => /^OK \d{1,10}$/.test(line.toString('latin1'));

/** As if nobody had read of it. A reset before anybody looks is told by the close that follows. */
function handOver(connection: Socket, rest: Buffer): Socket {
  connection.on('error', () => undefined).pause();
  if (rest.length > 0) connection.unshift(rest);
  return connection;
}

function garbage(): GloveboxError {
  return new GloveboxError('E_PROTOCOL', {
    what: 'Firecracker answered a connection with something else than OK',
  });
}

function silent(port: number, timeoutMs: number): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', {
    what: `the machine did not start within ${Math.round(timeoutMs)} ms`,
    why: `nobody in it listens on vsock port ${port}`,
  });
}
