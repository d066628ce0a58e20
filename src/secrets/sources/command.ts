import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import type { SourceContext } from '../contract.ts';
import { isUntrusted } from '../untrusted.ts';
import { secretValue } from '../value.ts';

/** A password manager may ask a server; none takes this long. */
const TIME_MS = 30_000;
const OUTPUT_MAX = 64 * 1024;

/** Standard output of a program, without one trailing newline. No shell, nothing on standard input, standard error goes nowhere. */
export async function readCommandSource(
  argv: readonly string[],
  context: SourceContext,
  timeMs: number = TIME_MS,
): Promise<Buffer> {
  const [program, ...args] = argv;
  if (program === undefined || program === '') throw failed('(none)', 'the command is empty');
  const name = path.basename(program);
  // A relative path would be looked up in some directory that the agent may write.
  if (program.includes('/') && !path.isAbsolute(program))
    throw failed(name, 'its path is neither absolute nor a bare name');
  if (path.isAbsolute(program) && isUntrusted(program, context.untrusted))
    throw failed(name, 'it lies in a directory that a sandbox may write');
  const child = spawn(program, args, {
    cwd: '/',
    env: commandEnvironment(context),
    stdio: ['ignore', 'pipe', 'ignore'],
    // A group of its own, so that the time limit reaches what it starts; and no terminal to ask questions on.
    detached: true,
  });
  return secretValue(await outputOf(child, name, timeMs, context.signal), `the output of ${name}`, 'strip');
}

/** The host's environment without what only Glovebox should know, and without places in PATH that a sandbox may write. */
function commandEnvironment(context: SourceContext): NodeJS.ProcessEnv {
  const entries = (context.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin').split(':');
  const trusted = entries.filter((entry) => path.isAbsolute(entry) && !isUntrusted(entry, context.untrusted));
  const env: NodeJS.ProcessEnv = { ...context.env, PATH: trusted.join(':') };
  delete env['GLOVEBOX_STORE_PASSPHRASE'];
  return env;
}

function outputOf(
  child: ChildProcess,
  name: string,
  timeMs: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const { promise, stop } = ending(child, name, chunks);
  const timer = setTimeout(() => stop(`it took longer than ${timeMs / 1000} s`), timeMs);
  const abort = (): void => stop('the broker was closed');
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted === true) abort();
  return promise.finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    for (const chunk of chunks) chunk.fill(0);
  });
}

function ending(
  child: ChildProcess,
  name: string,
  chunks: Buffer[],
): { readonly promise: Promise<Buffer>; readonly stop: (why: string) => void } {
  const fail: { reject: (error: Error) => void } = { reject: () => undefined };
  const stop = (why: string): void => {
    killGroup(child);
    fail.reject(failed(name, why));
  };
  const promise = new Promise<Buffer>((resolve, reject) => {
    fail.reject = reject;
    let size = 0;
    child.stdout?.on('data', (chunk: Buffer) => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > OUTPUT_MAX) stop(`it wrote more than ${OUTPUT_MAX / 1024} KiB`);
    });
    child.on('error', (error) => reject(failed(name, systemCode(error) ?? 'it cannot be started')));
    // After the end of its output, which a process that it left behind may hold open: the time limit covers that.
    child.on('close', (code, ended) => {
      if (code === 0) resolve(Buffer.concat(chunks));
      else reject(failed(name, code === null ? `it was ended by ${ended}` : `it exited with ${code}`));
    });
  });
  return { promise, stop };
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
  child.stdout?.destroy();
}

function failed(name: string, why: string): GloveboxError {
  return new GloveboxError('E_CREDENTIAL_SOURCE', { what: `the command ${name} gave no secret`, why });
}
