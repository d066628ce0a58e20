import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { until } from './attack.ts';
import { isRoot } from './users.ts';

/** A real server of another program, with a directory of its own; both are gone afterwards. */
export class RealServer implements AsyncDisposable {
  readonly dir: string;
  readonly port: number;
  readonly #child: ChildProcess;

  private constructor(dir: string, port: number, child: ChildProcess) {
    this.dir = dir;
    this.port = port;
    this.#child = child;
  }

  /** Starts a program on a free port of 127.0.0.1 and waits until it takes connections. */
  static async start(
    dir: string,
    program: (port: number) => readonly string[],
    as: SpawnOptions = {},
  ): Promise<RealServer> {
    const port = await freePort();
    const [file = '', ...args] = program(port);
    const child = spawn(file, args, { cwd: dir, stdio: 'ignore', ...as });
    const server = new RealServer(dir, port, child);
    for (let open = false; !open; open = await answers(port))
      if (child.exitCode !== null) throw new Error(`${file} ended with ${child.exitCode}`);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGINT');
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export const newDir = (): string => realpathSync(mkdtempSync('/var/tmp/gbx-srv-'));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const open = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  socket.destroy();
  if (!open) await new Promise((resolve) => setTimeout(resolve, 20));
  return open;
}

/** Directory of PostgreSQL's programs, the newest there is. */
export function postgresPrograms(): string | undefined {
  const top = '/usr/lib/postgresql';
  try {
    const [version] = readdirSync(top).sort((a, b) => Number(b) - Number(a));
    return version === undefined ? undefined : path.join(top, version, 'bin');
  } catch {
    return undefined;
  }
}

/** A private cluster that believes everybody. It refuses to run as root, so root starts it as nobody. */
export async function startPostgres(programs: string): Promise<RealServer> {
  const dir = newDir();
  const data = path.join(dir, 'data');
  mkdirSync(data, { mode: 0o700 });
  const nobody = 65_534;
  const as = isRoot ? { uid: nobody, gid: nobody } : {};
  if (isRoot) for (const name of [dir, data]) chownSync(name, nobody, nobody);
  const init = ['-D', data, '-U', 'tester', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  const made = spawnSync(path.join(programs, 'initdb'), init, { cwd: dir, encoding: 'utf8', ...as });
  if (made.status !== 0) throw new Error(made.stderr);
  const settings = ['listen_addresses=127.0.0.1', 'fsync=off', `unix_socket_directories=${dir}`];
  const server = await RealServer.start(
    dir,
    (port) => [
      ...[path.join(programs, 'postgres'), '-D', data, '-p', String(port)],
      ...settings.flatMap((setting) => ['-c', setting]),
    ],
    as,
  );
  const ready = (): boolean => {
    const args = ['-h', '127.0.0.1', '-p', String(server.port), '-q'];
    return spawnSync(path.join(programs, 'pg_isready'), args).status === 0;
  };
  await until(ready, 'PostgreSQL');
  return server;
}

export function startRedis(): Promise<RealServer> {
  return RealServer.start(newDir(), (port) => [
    ...['redis-server', '--port', String(port), '--bind', '127.0.0.1'],
    ...['--save', '', '--appendonly', 'no'],
  ]);
}
