import { connect, type Socket } from 'node:net';
import { ERRORS, GloveboxError, systemCode, type ErrorCode } from '../../base/errors.ts';
import type { AttachRequest, ProgramRequest } from './contract.ts';
import { readLine, writeLine } from './line.ts';

/** An owner that is busy may take this long, in ms; what it is asked for its list, it knows at once. */
const ANSWER_MS = 30_000;
const INFO_MS = 3_000;

/**
 * Asks the owner of a sandbox for something.
 *
 * @throws E_SANDBOX_CLOSED when nobody answers there, and what the owner refuses with
 */
export async function askOwner(path: string, request: AttachRequest): Promise<unknown> {
  const { socket, value } = await converse(path, request);
  socket.destroy();
  return value;
}

/** A connection that speaks the agent's protocol from here on, with what the owner said of the sandbox. */
export function openSession(path: string): Promise<{ readonly socket: Socket; readonly value: unknown }> {
  return converse(path, { ask: 'session' });
}

/** A connection about one background command from here on. @throws E_USAGE when there is none with that number */
export function openProgram(
  path: string,
  request: ProgramRequest,
): Promise<{ readonly socket: Socket; readonly value: unknown }> {
  return converse(path, request);
}

async function converse(path: string, request: AttachRequest): Promise<{ socket: Socket; value: unknown }> {
  const socket = await reach(path);
  try {
    writeLine(socket, request);
    return { socket, value: valueOf(await readLine(socket, request.ask === 'info' ? INFO_MS : ANSWER_MS)) };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

function reach(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.off('error', refused);
      socket.on('error', () => socket.destroy());
      resolve(socket);
    });
    const refused = (error: Error): void => {
      reject(
        new GloveboxError('E_SANDBOX_CLOSED', {
          what: 'the owner of the sandbox does not answer',
          why: systemCode(error) ?? error.message,
        }),
      );
    };
    socket.once('error', refused);
  });
}

function valueOf(answer: unknown): unknown {
  if (typeof answer !== 'object' || answer === null || !('ok' in answer))
    throw new GloveboxError('E_PROTOCOL', { what: 'the owner answered with something else' });
  if (answer.ok === true) return 'value' in answer ? answer.value : undefined;
  throw errorOf(answer);
}

/** An error that the owner wrote down. */
export function errorOf(value: object): GloveboxError {
  const code = 'code' in value && isErrorCode(value.code) ? value.code : 'E_INTERNAL';
  const context = 'context' in value && typeof value.context === 'object' ? { ...value.context } : {};
  return new GloveboxError(code, {
    what: 'what' in value ? String(value.what) : 'the owner refused',
    ...('why' in value && typeof value.why === 'string' ? { why: value.why } : {}),
    context,
  });
}

const isErrorCode = (value: unknown): value is ErrorCode =>
  typeof value === 'string' && Object.hasOwn(ERRORS, value);
