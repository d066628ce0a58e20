import { request, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { GloveboxError, isGloveboxError, systemCode } from '../../base/errors.ts';
import type { ApiCall } from './requests.ts';
import { connectTo } from './sockets.ts';

/** Firecracker answers with nothing, or with a sentence; one that says more is not ours any more. */
const ANSWER_BYTES = 64 * 1024;

/** How long one call may take, in ms: a snapshot of a few hundred megabytes is written in a second. */
const ANSWER_MS = 30_000;

/** What a person reads of a fault. */
const FAULT_CHARS = 500;

export interface CallOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * One call over Firecracker's API socket; resolves when it was obeyed. Firecracker works on what a guest does, so its words are bounded and
 * not trusted.
 *
 * @throws E_SANDBOX_START with its `fault_message` and, in the context, `status`, `method` and `path`; without a status, and with the
 * system's `code`, when nobody answered; E_ABORTED
 */
export async function callFirecracker(
  socketPath: string,
  call: ApiCall,
  options: CallOptions = {},
): Promise<void> {
  const { status, text } = await exchange(socketPath, call, options);
  if (status === 204 || status === 200) return;
  throw refused(call, faultOf(text) ?? `HTTP status ${status} without a reason`, { status });
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function exchange(
  socketPath: string,
  call: ApiCall,
  { timeoutMs = ANSWER_MS, signal }: CallOptions,
): Promise<Answer> {
  const { method, path } = call;
  const body = Buffer.from(JSON.stringify(call.body));
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json',
    'content-length': body.length,
  };
  const deadline = AbortSignal.timeout(timeoutMs);
  const ended = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
  const wrong = (error: unknown): GloveboxError => {
    if (isGloveboxError(error)) return error;
    if (signal?.aborted === true) return new GloveboxError('E_ABORTED', { what: 'the start was given up' });
    const code = systemCode(error);
    const why = deadline.aborted ? `no answer within ${timeoutMs} ms` : messageOf(error);
    return refused(call, why, code === undefined ? {} : { code });
  };
  return new Promise<Answer>((resolve, reject) => {
    const createConnection = connectionTo(socketPath, (error) => reject(wrong(error)));
    if (createConnection === undefined) return;
    const asked = request({ createConnection, method, path, headers, signal: ended });
    asked.once('error', (error) => reject(wrong(error)));
    asked.once('response', (response) => {
      readAll(response).then(
        (text) => resolve({ status: response.statusCode ?? 0, text }),
        (error: unknown) => {
          asked.destroy();
          reject(refused(call, messageOf(error)));
        },
      );
    });
    asked.end(body);
  });
}

function connectionTo(file: string, failed: (error: unknown) => void): (() => Socket) | undefined {
  try {
    const socket = connectTo(file);
    return () => socket;
  } catch (error) {
    failed(error);
    return undefined;
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response) {
    if (!Buffer.isBuffer(chunk)) continue;
    length += chunk.length;
    if (length > ANSWER_BYTES) throw new Error(`an answer of more than ${ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The `Error` object of the API. */
function faultOf(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const fault =
      typeof value === 'object' && value !== null && 'fault_message' in value
        ? value.fault_message
        : undefined;
    return typeof fault === 'string' ? printable(fault) : undefined;
  } catch {
    return undefined;
  }
}

// Its words end on somebody's terminal.
// oxlint-disable-next-line no-control-regex
const printable = (text: string): string =>
  text
    .replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
    .trim()
    .slice(0, FAULT_CHARS);

function refused(call: ApiCall, why: string, context: Readonly<Record<string, unknown>> = {}): GloveboxError {
  const { method, path } = call;
  return new GloveboxError('E_SANDBOX_START', {
    what: `Firecracker did not do as it was told (${method} ${path})`,
    why,
    context: { method, path, ...context },
  });
}
