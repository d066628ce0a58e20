import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { Duplex } from 'node:stream';
import type { AirlockSpec } from '../../agent/contract.ts';
import { encodeAirlockSpec } from '../../agent/boot.ts';
import { GloveboxError } from '../../base/errors.ts';

export interface JailInput {
  readonly spec: AirlockSpec;
  readonly agent: string;
  /** For the airlock and, where the boot says `inherit`, for the command. */
  readonly stdio: readonly [
    'inherit' | 'ignore' | number,
    'inherit' | 'ignore' | number,
    'inherit' | 'ignore' | 'pipe' | number,
  ];
  /** Called with each socket of the sandbox's network namespace, by listener id. */
  readonly onListener: (id: number, handle: object) => void;
}

/** A jail that is coming up; nothing of the user's runs before the boot frame is written to the channel. */
export interface Jail {
  readonly pid: number;
  readonly channel: Duplex;
  /** Resolves when the airlock and everything below it is gone. */
  readonly exited: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  /** What the airlock or bubblewrap said on stderr, when that was a pipe. */
  complaint(): string;
  /** KILL to the outermost process: the pid namespace dies with it. */
  kill(): void;
}

/** More than this of complaints is not read by anybody. */
const COMPLAINT_CHARS = 4096;

/**
 * Starts the airlock, which becomes bubblewrap, which becomes the agent. `detached` makes a session of its own: keys
 * typed at the terminal reach Glovebox only, and are forwarded.
 */
export function startJail(input: JailInput): Jail {
  const stdio: StdioOptions = [...input.stdio, 'ipc', 'pipe'];
  const child = spawn(input.agent, ['airlock'], { stdio, detached: true, env: {} });
  const channel = child.stdio[4];
  const exited = exitOf(child);
  if (!(channel instanceof Duplex) || child.pid === undefined) {
    throw new GloveboxError('E_SANDBOX_START', { what: `cannot start ${input.agent}` });
  }
  child.on('message', (message: unknown, handle: unknown) => {
    const id = listenerId(message);
    if (id !== undefined && typeof handle === 'object' && handle !== null) input.onListener(id, handle);
  });
  const complaint = collectComplaint(child);
  channel.write(encodeAirlockSpec(input.spec));
  return { pid: child.pid, channel, exited, complaint, kill: () => void child.kill('SIGKILL') };
}

function listenerId(message: unknown): number | undefined {
  if (typeof message !== 'object' || message === null || !('id' in message)) return undefined;
  return typeof message.id === 'number' ? message.id : undefined;
}

function exitOf(child: ChildProcess): Jail['exited'] {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }));
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
}

function collectComplaint(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    if (text.length < COMPLAINT_CHARS) text += chunk.toString('utf8');
  });
  return () => text.slice(0, COMPLAINT_CHARS).trim();
}
