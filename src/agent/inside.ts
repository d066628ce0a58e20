import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import type { Abortable, ListeningPort, SandboxProcess } from './files-contract.ts';
import { fileError } from './file-errors.ts';
import type { StartWork } from './files.ts';
import { protocolError } from './frames.ts';
import { FRAME, RECORD_TAG } from './numbers.ts';
import { recordsOf } from './records-of.ts';
import { readPort, readProcess, type WorkResult } from './records.ts';
import { encodeWork } from './work.ts';

/** Everything that runs in the sandbox but the agent. Rejects with `E_LIMIT_EXCEEDED` beyond `CAPS.processCount`. */
export function listProcesses(start: StartWork, options: Abortable): Promise<readonly SandboxProcess[]> {
  return listOf(start, options, {
    type: FRAME.processes,
    tag: RECORD_TAG.process,
    what: 'processes',
    read: readProcess,
  });
}

/** TCP ports that are listened on, as /proc/net says. */
export function listPorts(start: StartWork, options: Abortable): Promise<readonly ListeningPort[]> {
  return listOf(start, options, { type: FRAME.ports, tag: RECORD_TAG.port, what: 'ports', read: readPort });
}

interface Kind<T> {
  readonly type: number;
  readonly tag: number;
  readonly what: string;
  readonly read: (value: Buffer) => T;
}

async function listOf<T>(start: StartWork, options: Abortable, kind: Kind<T>): Promise<readonly T[]> {
  const work = start({
    type: kind.type,
    payload: encodeWork({ max: CAPS.processCount }),
    title: `listing ${kind.what}`,
    error: (result) => fileError('list', kind.what, result),
    signal: options.signal,
  });
  const records = recordsOf(work, CAPS.answerBytes);
  const found: T[] = [];
  let step = await records.next();
  for (; step.done !== true; step = await records.next()) {
    if (step.value.tag !== kind.tag || found.length >= CAPS.processCount) {
      work.abandon();
      throw protocolError(`a list of ${kind.what} that is none`);
    }
    found.push(kind.read(step.value.value));
  }
  if (step.value.truncated)
    throw new GloveboxError('E_LIMIT_EXCEEDED', {
      what: `the sandbox has more than ${found.length} ${kind.what}`,
    });
  return found;
}

/**
 * Resolves when something inside accepts connections on 127.0.0.1 or ::1; the agent tries, with growing pauses up to 100 ms.
 *
 * @throws E_TIMEOUT after `timeoutMs`, E_ABORTED
 */
export async function waitForPort(
  start: StartWork,
  port: number,
  options: Abortable & { readonly timeoutMs?: number },
): Promise<void> {
  const { timeoutMs = 60_000, signal } = options;
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new GloveboxError('E_USAGE', { what: `${port} is not a port number` });
  const error = (result: WorkResult): GloveboxError =>
    result.step === 'connect'
      ? new GloveboxError('E_TIMEOUT', {
          what: `nothing inside the sandbox listens on port ${port} after ${timeoutMs} ms`,
          next: 'Read the output of the server, or wait longer with `timeoutMs`.',
          context: { port, timeoutMs },
        })
      : fileError('wait for', `port ${port}`, result);
  const payload = encodeWork({ port, timeoutMs });
  await start({ type: FRAME.waitPort, payload, title: `waiting for port ${port}`, error, signal }).done;
}
