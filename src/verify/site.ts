import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/**
 * Things of the host that no sandbox may reach, made for one verification: files, a process, listeners, a secret in the environment. Each holds or says the
 * same random canary.
 */
export class VerifySite {
  readonly canary = `canary-${randomBytes(16).toString('hex')}`;
  readonly base: string;
  /** Connections and datagrams that arrived. */
  reached = 0;
  readonly #process: ChildProcess;
  readonly #tcp: Server;
  readonly #udp: UdpSocket;

  private constructor() {
    this.base = mkdtempSync(path.join(realpathSync(tmpdir()), 'glovebox-verify-'));
    for (const name of ['workspace', 'outside', 'config'])
      mkdirSync(path.join(this.base, name), { mode: 0o700 });
    for (const file of [
      this.outside('secret'),
      this.outside('kept'),
      this.inside('denied'),
      this.inside('protected'),
    ])
      writeFileSync(file, `${this.canary}\n`);
    writeFileSync(this.inside('control'), 'readable\n');
    // The canary among its arguments is how it would be found. Its input ends with us, whatever becomes of us.
    this.#process = spawn('sh', ['-c', `read line; : ${this.canary}`], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    this.#tcp = createServer((socket) => {
      this.reached += 1;
      socket.on('error', () => undefined).end(this.canary);
    });
    this.#udp = createSocket('udp4').on('message', () => (this.reached += 1));
  }

  static async make(): Promise<VerifySite> {
    const site = new VerifySite();
    site.#tcp.listen(0, '127.0.0.1');
    site.#udp.bind(0, '127.0.0.1');
    await Promise.all([once(site.#tcp, 'listening'), once(site.#udp, 'listening')]);
    return site;
  }

  get workspace(): string {
    return path.join(this.base, 'workspace');
  }

  /** A directory of configuration with nothing in it: the policy is the verification's own. */
  get config(): string {
    return path.join(this.base, 'config');
  }

  /** A path beside the workspace. */
  outside(name: string): string {
    return path.join(this.base, 'outside', name);
  }

  /** A path in the workspace. */
  inside(name: string): string {
    return path.join(this.workspace, name);
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  isAlive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  get tcpPort(): number {
    const address = this.#tcp.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get udpPort(): number {
    return this.#udp.address().port;
  }

  /** A file that still says what it said. */
  isUntouched(file: string): boolean {
    return existsSync(file) && readFileSync(file, 'utf8') === `${this.canary}\n`;
  }

  /** Ends everything and takes it away. */
  remove(): void {
    this.#tcp.close();
    this.#udp.close();
    if (this.isAlive() && this.pid > 0) process.kill(-this.pid, 'SIGKILL');
    rmSync(this.base, { recursive: true, force: true });
  }
}
