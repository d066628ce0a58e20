import { spawn, type ChildProcess } from 'node:child_process';
import type { EngineName } from './args.ts';

/** An engine's command-line client: the only way in which an engine is spoken to. */
export interface EngineClient {
  readonly engine: EngineName;
  readonly program: string;
  /** Of the client itself; nothing of it reaches a container. */
  readonly env: Readonly<Record<string, string>>;
}

/** What a client needs to find its engine: docker(1) and podman(1), "ENVIRONMENT". */
const CLIENT_VARIABLES = [
  'PATH',
  'HOME',
  'USER',
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  'XDG_DATA_HOME',
  'TMPDIR',
  'DBUS_SESSION_BUS_ADDRESS',
  'DOCKER_HOST',
  'DOCKER_CONTEXT',
  'DOCKER_CONFIG',
  'DOCKER_CERT_PATH',
  'DOCKER_TLS_VERIFY',
  'DOCKER_API_VERSION',
  'CONTAINER_HOST',
  'CONTAINERS_CONF',
  'CONTAINERS_STORAGE_CONF',
] as const;

export function clientEnvironment(env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  return Object.fromEntries(
    CLIENT_VARIABLES.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const])),
  );
}

/** What a client said. `code` is null when it did not end by itself. */
export interface ClientAnswer {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** An engine that says nothing for this long hangs. */
const ANSWER_MS = 60_000;
const ANSWER_CHARS = 4 * 1024 * 1024;

/** Runs the client to its end. Never rejects. */
export function ask(
  { program, env }: EngineClient,
  args: readonly string[],
  input?: Uint8Array,
): Promise<ClientAnswer> {
  const child = spawn(program, args, { env: { ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => {
    if (said.out.length < ANSWER_CHARS) said.out += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    if (said.err.length < ANSWER_CHARS) said.err += chunk.toString('utf8');
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill('SIGKILL'), ANSWER_MS);
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, out: '', err: error.message }));
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, ...said });
    });
  });
}

/** Starts the client; its standard input and output are the container's. A group of its own: keys typed at the terminal are ours. */
export function startClient({ program, env }: EngineClient, args: readonly string[]): ChildProcess {
  return spawn(program, args, { env: { ...env }, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
}

/** Waits for the end of its input, which is this process's, and removes the container of that name then. */
const REAPER = 'cat >/dev/null; exec "$0" rm --force --volumes "$1"';

/**
 * Podman keeps a container's input open when the client's ends, so that its agent does not learn of the launcher's death. Answers how to
 * dismiss what watches over it instead; Docker needs nothing.
 */
export function watchOver({ engine, program, env }: EngineClient, name: string): () => void {
  if (engine === 'docker') return () => undefined;
  const reaper = spawn('/bin/sh', ['-c', REAPER, program, name], {
    env: { ...env },
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  reaper.stdin.on('error', () => undefined);
  reaper.on('error', () => undefined);
  return () => {
    // Its group: the shell and what it waits with. Never after its end, when the number may be another's.
    if (reaper.pid !== undefined && reaper.exitCode === null && reaper.signalCode === null)
      process.kill(-reaper.pid, 'SIGKILL');
  };
}

/** The last line that says something, for people: no invitation to read help, and of Podman's log only what is in it. */
export function lastLine(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !INVITATION.test(line));
  const last = (lines.at(-1) ?? '').trim();
  const logged = LOGGED.exec(last)?.[1];
  return (logged?.replaceAll(/\\(.)/g, '$1') ?? last).replace(/^(?:docker|Error): /, '');
}

const INVITATION = /^(?:See|Run) 'docker run/;
/** The lines of logrus, which both engines log with. */
const LOGGED = /^time="[^"]*" level=\w+ msg="((?:[^"\\]|\\.)*)"/;
