import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { Socket, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { locateAgent } from '../../src/agent/locate.ts';
import { filesArgs } from '../../src/drivers/qemu/copied.ts';
import type { MachineMount, MachineSpec } from '../../src/agent/machine-contract.ts';
import { initrdArchive } from '../../src/machine/initrd/initrd.ts';
import { findKernel } from '../../src/machine/kernel/find.ts';
import { plainKernel } from '../../src/machine/kernel/vmlinux.ts';
import { moduleClosure } from '../../src/machine/modules/closure.ts';

/** Machines for tests of the agent alone: no jail around QEMU, a base of a few programs. */

const QEMU = '/usr/bin/qemu-system-x86_64';
const MKFS = '/usr/bin/mkfs.erofs';

/** Programs of the base, taken from the host with the libraries that they load. */
const PROGRAMS = [
  'bash',
  'cat',
  'chmod',
  'date',
  'head',
  'id',
  'ln',
  'ls',
  'mkdir',
  'mkfifo',
  'rm',
  'sleep',
  'stat',
  'sync',
  'tail',
  'touch',
  'true',
  'uname',
  'wc',
];

/** Why machines cannot run here, or undefined. */
export function machineMissing(): string | undefined {
  if (process.arch !== 'x64') return 'the test knows machines of x86-64 only';
  if (!existsSync(QEMU)) return 'QEMU is not installed (apt-get install qemu-system-x86)';
  if (!existsSync(MKFS)) return 'mkfs.erofs is not installed (apt-get install erofs-utils)';
  try {
    locateAgent();
    findKernel();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** virtiofsd: where the setup script or the distribution puts it. */
function fileServer(): string | undefined {
  const named = process.env['GLOVEBOX_VIRTIOFSD'] ?? '';
  const places = [named, '/usr/local/lib/glovebox/virtiofsd/virtiofsd', '/usr/libexec/virtiofsd'];
  return places.find((file) => file !== '' && existsSync(file));
}

/** One that was unpacked is started with the C library that lies beside it. */
function loaderOf(server: string): string | undefined {
  const loader = path.join(path.dirname(server), 'ld-linux-x86-64.so.2');
  return existsSync(loader) ? loader : undefined;
}

/** Why nothing can be shared with machines here, or undefined. */
export function shareMissing(): string | undefined {
  return fileServer() === undefined ? 'virtiofsd is not installed (scripts/setup.sh)' : undefined;
}

export interface BootOptions {
  /** MiB. */
  readonly memory?: number;
  readonly card?: boolean;
  /** Absent: a machine without its base. */
  readonly base?: boolean;
  /** Another initial RAM disk than the site's. */
  readonly initrd?: string;
  /** A directory to share under the tag `view`. */
  readonly share?: string;
  /** Another base than the site's. */
  readonly disk?: string;
  /** More of the kernel's command line. */
  readonly words?: string;
  /** With the port for copied trees, which connects to the site's `FILES_SOCKET`. */
  readonly files?: boolean;
  /** QEMU listens, and nobody is there. */
  readonly unattended?: boolean;
}

/** One that runs. */
export interface Machine {
  /** The channel of a machine that is attended; paused until somebody reads it. */
  readonly channel: Socket;
  /** QEMU's exit code. */
  readonly exited: Promise<number | null>;
  /** What it said on its console. */
  console(): string;
  /** A channel to one that is not attended. */
  attach(): Promise<Socket>;
}

export class MachineSite {
  readonly dir = mkdtempSync(path.join(tmpdir(), 'glovebox-machine-'));
  readonly #running = new Set<ChildProcess>();
  #count = 0;

  /** Makes kernel, initial RAM disk and base. */
  static async make(): Promise<MachineSite> {
    const site = new MachineSite();
    const kernel = findKernel();
    writeFileSync(site.path('vmlinux'), await plainKernel(kernel, readFileSync(kernel.file)));
    await site.initrd('initrd', (modules) => modules);
    site.#makeBase();
    return site;
  }

  path(name: string): string {
    return path.join(this.dir, name);
  }

  /** An initial RAM disk with other modules. */
  async initrd(
    name: string,
    choose: (modules: Awaited<ReturnType<typeof moduleClosure>>) => Awaited<ReturnType<typeof moduleClosure>>,
  ): Promise<string> {
    const modules = await moduleClosure(findKernel(), ['network', 'share']);
    writeFileSync(this.path(name), initrdArchive(readFileSync(locateAgent()), choose(modules)));
    return this.path(name);
  }

  async boot(options: BootOptions = {}): Promise<Machine> {
    this.#count += 1;
    const socket = this.path(`c${this.#count}`);
    const log = this.path(`console${this.#count}`);
    if (options.share !== undefined) await this.#serveFiles(options.share, `${socket}.fs`);
    const server =
      options.unattended === true ? undefined : createServer({ pauseOnConnect: true }).listen(socket);
    if (server !== undefined) await once(server, 'listening');
    const qemu = spawn(QEMU, qemuArgs(this, { socket, log, ...options }), {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#running.add(qemu);
    let said = '';
    qemu.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const exited = new Promise<number | null>((resolve) => qemu.once('exit', resolve));
    const readLog = (): string => said + (existsSync(log) ? readFileSync(log, 'latin1') : '');
    const attach = (): Promise<Socket> => connectTo(socket);
    if (server === undefined) return { channel: new Socket(), exited, console: readLog, attach };
    const connected = new Promise<Socket>((resolve) => server.once('connection', resolve));
    const channel = await Promise.race([connected, exited]);
    server.close();
    if (channel === null || typeof channel === 'number') throw new Error(`QEMU ended: ${said}`);
    return { channel, exited, console: readLog, attach };
  }

  /** A base of its own. */
  copyBase(name: string): string {
    cpSync(this.path('base.erofs'), this.path(name));
    return this.path(name);
  }

  remove(): void {
    for (const qemu of this.#running) qemu.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** It ends with its machine. */
  async #serveFiles(dir: string, socket: string): Promise<void> {
    const server = fileServer() ?? '';
    const loader = loaderOf(server);
    const args = [server, `--socket-path=${socket}`, `--shared-dir=${dir}`, '--sandbox=none', '--cache=auto'];
    const argv = loader === undefined ? args : [loader, '--library-path', path.dirname(server), ...args];
    const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: 'ignore' });
    this.#running.add(child);
    for (let turn = 0; turn < 200 && !existsSync(socket); turn++)
      await new Promise((resolve) => setTimeout(resolve, 25));
  }

  #makeBase(): void {
    const root = this.path('root');
    for (const name of ['usr/bin', 'etc', 'root']) mkdirSync(path.join(root, name), { recursive: true });
    const programs = PROGRAMS.map((name) => `/usr/bin/${name}`).filter((file) => existsSync(file));
    for (const file of [...programs, ...librariesOf(programs)]) {
      const real = realpathSync(path.dirname(file));
      mkdirSync(path.join(root, real), { recursive: true });
      cpSync(file, path.join(root, real, path.basename(file)), { dereference: true });
    }
    writeFileSync(path.join(root, 'etc/secret'), 'root only\n', { mode: 0o600 });
    // What an image says here means its own root, never the machine's.
    symlinkSync('/init', path.join(root, 'escape'));
    execFileSync(MKFS, ['-zlz4', '--all-root', this.path('base.erofs'), root], { stdio: 'pipe' });
  }
}

/** QEMU takes a moment to listen. */
async function connectTo(file: string): Promise<Socket> {
  for (let turn = 0; ; turn++) {
    const socket = connect(file);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (turn > 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

function librariesOf(programs: readonly string[]): readonly string[] {
  const said = execFileSync('ldd', programs, { encoding: 'utf8' });
  return [...new Set([...said.matchAll(/(?:=> )?(\/[^\s:]+) \(0x/g)].map(([, file]) => file ?? ''))];
}

/** In kHz, for a guest that cannot measure it: its timer is emulated. */
function clockKhz(): number {
  const mhz = /cpu MHz\s*: ([\d.]+)/.exec(readFileSync('/proc/cpuinfo', 'latin1'))?.[1];
  return Math.round(Number(mhz ?? 2000) * 1000);
}

interface QemuInput extends BootOptions {
  readonly socket: string;
  readonly log: string;
}

function qemuArgs(site: MachineSite, input: QemuInput): readonly string[] {
  const { memory = 256, card = true, base = true, share, words: more = '' } = input;
  const words = `console=hvc0 tsc_early_khz=${clockKhz()} quiet loglevel=1 panic=-1 reboot=t nokaslr mitigations=off audit=0 tsc=reliable no_timer_check random.trust_cpu=on cryptomgr.notests ${card && input.initrd === undefined ? 'glovebox_card=10.0.2.15/24' : ''} ${more}`;
  return [
    ...[
      '-bios',
      'qboot.rom',
      '-M',
      `microvm,x-option-roms=off,rtc=on,isa-serial=off${share === undefined ? '' : ',memory-backend=m0'}`,
    ],
    ...['-accel', 'tcg,thread=single', '-cpu', 'Nehalem-v1', '-smp', '1', '-m', String(memory)],
    ...['-nodefaults', '-no-user-config', '-nographic', '-no-reboot'],
    ...['-kernel', site.path('vmlinux'), '-initrd', input.initrd ?? site.path('initrd'), '-append', words],
    ...[
      '-device',
      'virtio-serial-device',
      '-chardev',
      `socket,id=c0,path=${input.socket}${input.unattended === true ? ',server=on,wait=off' : ''}`,
    ],
    ...['-device', 'virtserialport,chardev=c0,name=glovebox.agent'],
    ...(input.files !== true ? [] : filesArgs(site.dir)),
    ...['-chardev', `file,id=c1,path=${input.log}`, '-device', 'virtconsole,chardev=c1'],
    ...(base
      ? ['-drive', `file=${input.disk ?? site.path('base.erofs')},if=none,id=d0,format=raw,readonly=on`]
      : []),
    ...(base ? ['-device', 'virtio-blk-device,drive=d0,serial=base'] : []),
    ...(card ? ['-netdev', 'user,id=n0,ipv6=off', '-device', 'virtio-net-device,netdev=n0'] : []),
    ...(share === undefined ? [] : shareArgs(input.socket, memory)),
  ];
}

/** vhost-user: the file server reads the machine's memory. */
function shareArgs(socket: string, memory: number): readonly string[] {
  return [
    ...[
      '-object',
      `memory-backend-memfd,id=m0,size=${memory}M,share=on`,
      '-chardev',
      `socket,id=v0,path=${socket}.fs`,
    ],
    ...['-device', 'vhost-user-fs-device,chardev=v0,tag=view'],
  ];
}

const view = (source: string): MachineMount => ({ kind: 'base', source, target: source });

/** The base's programs, and what every sandbox has. */
export const MACHINE_MOUNTS: readonly MachineMount[] = [
  view('/usr'),
  { kind: 'symlink', target: '/bin', to: 'usr/bin' },
  { kind: 'symlink', target: '/lib', to: 'usr/lib' },
  { kind: 'symlink', target: '/lib64', to: 'usr/lib64' },
  { kind: 'proc', target: '/proc' },
  { kind: 'dev', target: '/dev' },
  { kind: 'tmpfs', target: '/tmp', bytes: 16 << 20, mode: 0o1777 },
  { kind: 'hidden', target: '/proc/kcore', type: 'file' },
];

export function machineSpec(more: Partial<MachineSpec> = {}): MachineSpec {
  return {
    hostname: 'machine',
    machineId: '0123456789abcdef0123456789abcdef',
    seed: Buffer.alloc(64, 7),
    clockNs: BigInt(Date.now()) * 1_000_000n,
    identity: { uid: 1000, gid: 1000 },
    mounts: MACHINE_MOUNTS,
    ...more,
  };
}
