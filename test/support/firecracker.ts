import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { encodeFrame, FrameDecoder, type Frame } from '../../src/agent/frames.ts';
import { locateAgent } from '../../src/agent/locate.ts';
import { FRAME, HELLO_TAG, MACHINE_ENDED_TAG, MACHINE_READY_TAG } from '../../src/agent/numbers.ts';
import { TlvWriter } from '../../src/agent/tlv.ts';
import { compilePlan } from '../../src/drivers/plan.ts';
import type { Plan } from '../../src/drivers/contract.ts';
import type { FirecrackerLaunch } from '../../src/drivers/firecracker/driver.ts';
import { FACTS, POLICY } from '../pins/sample.ts';

/** The driver against a program that does what Firecracker's documents say, in its real jail; the guest is the test. */

/** A plan of the tier, as the policy of the pins makes it. */
const VM_PLAN: Plan = compilePlan(POLICY, { ...FACTS, tier: 'vm', driver: 'firecracker' });

/** The same without a tree of the host. */
export function planWithoutTrees(): Plan {
  const end = VM_PLAN.view.findIndex(({ kind }) => kind === 'proc');
  const view = VM_PLAN.view.filter(({ kind }, index) => kind !== 'bind' || index < end);
  return { ...VM_PLAN, view, masks: [] };
}

export class FirecrackerSite {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'glovebox-fc-'));
  readonly #servers: Server[] = [];
  #count = 0;

  constructor() {
    const source = path.join(import.meta.dirname, 'fake-firecracker.c');
    const flags = ['-std=c11', '-D_GNU_SOURCE', '-O1', '-static', '-o', this.program];
    execFileSync('cc', [...flags, source], { stdio: 'pipe' });
    for (const name of ['kernel', 'initrd', 'base']) writeFileSync(path.join(this.dir, name), name);
    mkdirSync(path.join(this.dir, 'scratch'), { mode: 0o700 });
  }

  get program(): string {
    return path.join(this.dir, 'firecracker');
  }

  /** A machine; `id` says what goes wrong with it. */
  launch(id: string): FirecrackerLaunch {
    this.#count += 1;
    // As long as a runtime directory may be.
    const sockets = path.join(this.dir, `m${this.#count}-${'x'.repeat(80)}`);
    mkdirSync(sockets, { mode: 0o700 });
    return {
      id,
      plan: planWithoutTrees(),
      agent: locateAgent(),
      bubblewrap: '/usr/bin/bwrap',
      scratch: path.join(this.dir, 'scratch'),
      cgroups: [],
      mode: 'serve',
      firecracker: this.program,
      // Where there is no KVM, another device takes its place: nobody opens it.
      kvm: '/dev/null',
      kernel: path.join(this.dir, 'kernel'),
      initrd: path.join(this.dir, 'initrd'),
      base: path.join(this.dir, 'base'),
      sockets,
      arch: 'x64',
      memoryBytes: 256 * 1024 ** 2,
      cpus: 1,
      limitsHit: () => [],
    };
  }

  /** The guest of a machine: says it is ready, then hello once it was told what it is. */
  async guest({ sockets }: FirecrackerLaunch, ready: Buffer = READY): Promise<Guest> {
    return new Guest(await this.#serve(sockets, 'test'), ready);
  }

  /** What comes over the connection for copied trees. */
  async files({ sockets }: FirecrackerLaunch): Promise<{ readonly heard: () => Buffer }> {
    const chunks: Buffer[] = [];
    const server = await this.#serve(sockets, 'test-files');
    server.on('connection', (socket) => socket.on('data', (chunk) => chunks.push(chunk)));
    return { heard: () => Buffer.concat(chunks) };
  }

  async #serve(sockets: string, name: string): Promise<Server> {
    const server = createServer();
    this.#servers.push(server);
    // The name is too long for a socket, and this process may be in its directory.
    const before = process.cwd();
    process.chdir(sockets);
    server.listen(name);
    process.chdir(before);
    await once(server, 'listening');
    return server;
  }

  remove(): void {
    for (const server of this.#servers) server.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const READY = encodeFrame(FRAME.machineReady, 0, new TlvWriter().u32(MACHINE_READY_TAG.version, 1).finish());

const HELLO = encodeFrame(
  FRAME.hello,
  0,
  new TlvWriter()
    .u32(HELLO_TAG.version, 1)
    .u32(HELLO_TAG.landlockAbi, 2)
    .u32(HELLO_TAG.flags, 5)
    .u32(HELLO_TAG.pid, 1)
    .u32(HELLO_TAG.uid, 1000)
    .u32(HELLO_TAG.gid, 1000)
    .finish(),
);

const ENDED = encodeFrame(FRAME.machineEnded, 0, new TlvWriter().u32(MACHINE_ENDED_TAG.status, 0).finish());

export class Guest {
  /** What the host said. */
  readonly frames: Frame[] = [];
  readonly #decoder = new FrameDecoder();
  #channel: Socket | undefined;

  constructor(server: Server, ready: Buffer) {
    server.on('connection', (channel) => {
      this.#channel = channel;
      channel.on('error', () => undefined);
      channel.write(ready);
      channel.on('data', (chunk) => {
        for (const frame of this.#decoder.push(chunk)) this.#take(frame);
      });
    });
  }

  /** As a kernel that is gone. */
  cut(): void {
    this.#channel?.destroy();
  }

  #take(frame: Frame): void {
    this.frames.push(frame);
    if (frame.type === FRAME.boot) this.#channel?.write(HELLO);
    if (frame.type === FRAME.shutdown) this.#channel?.end(ENDED);
  }
}
