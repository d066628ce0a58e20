import path from 'node:path';
import { AGENT_PATH, mountArgs } from '../bubblewrap/args.ts';
import type { Mount } from '../contract.ts';
import { filesArgs } from './copied.ts';
import { CONTROL_SOCKET, KEEPER_SOCKET, PLACES, type ShareName } from './layout.ts';

/** What executes the guest's instructions: the processor, or QEMU's translator. */
export type Accelerator = 'kvm' | 'tcg';

export interface MachineInput {
  /** QEMU on the host. */
  readonly qemu: string;
  readonly arch: 'x64' | 'arm64';
  readonly accelerator: Accelerator;
  /** Memory of the guest, bytes. */
  readonly memoryBytes: number;
  readonly cpus: number;
  /** Frequency of the host's time stamp counter, kHz; x86 only. */
  readonly tscKhz?: number;
  /** File servers that are there. */
  readonly shares: readonly ShareName[];
  /** The base system is a disk of the machine. */
  readonly disk: boolean;
  /** The guest has a way to its relay. */
  readonly network: boolean;
  /** Where its memory is. Default `fresh`. */
  readonly memory?: MachineMemory;
  /** It has a port for trees that are copied into its memory. Default false. */
  readonly files?: boolean;
  /** QEMU connects to somebody who gives it orders. Default false. */
  readonly control?: boolean;
}

/**
 * - `fresh`: empty, and gone with QEMU - `saved`: empty, in a file that stays: a template in the making
 * - `shared`: an own copy of a template's, which file servers use too - `private`: the template's own, copied page by page when it is written
 */
export type MachineMemory = 'fresh' | 'saved' | 'shared' | 'private';

/** The name by which the guest's first process finds its channel. */
const AGENT_PORT = 'glovebox.agent';
/** The one by which its keeper finds its own. */
const KEEPER_PORT = 'glovebox.keeper';

/** Descriptor of the guest's channel in QEMU, and of its console. */
export const CHANNEL = 3;
const CONSOLE = 2;

/** The guest's side of QEMU's user-mode network: RFC 1918 addresses that exist in this machine alone. */
export const GUEST_NETWORK = {
  address: '10.0.2.15/24',
  /** QEMU makes it the loopback address of the network namespace that it runs in. */
  host: '10.0.2.2',
} as const;

/**
 * Kernel command line (Documentation/admin-guide/kernel-parameters.txt). `tsc_early_khz`: under TCG the calibration against an emulated
 * timer fails now and then, and the machine hangs. `init_on_alloc=1`: the file server writes into the guest's memory behind QEMU's back, and QEMU
 * would go on executing what it has translated of a page's former content; zeroing each page anew makes it forget. `mitigations=off`: the guest's kernel guards itself against nobody that the sandbox is not; the
 * host guards itself. `nokaslr` is not set: a program inside must not find the kernel where it was in the machine before.
 */
function kernelLine({ arch, accelerator, tscKhz, network, control = false }: MachineInput): string {
  const timer =
    arch === 'x64' && accelerator === 'tcg' && tscKhz !== undefined
      ? [`tsc_early_khz=${tscKhz}`, 'tsc=reliable', 'no_timer_check']
      : [];
  return [
    'console=hvc0',
    ...timer,
    ...['quiet', 'loglevel=3', 'panic=-1', 'reboot=t', 'mitigations=off', 'audit=0', 'random.trust_cpu=on'],
    ...['cryptomgr.notests', 'init_on_alloc=1', 'swiotlb=noforce'],
    ...(control ? ['glovebox_keeper=1'] : []),
    ...(network ? [`glovebox_card=${GUEST_NETWORK.address}`] : []),
  ].join(' ');
}

/**
 * QEMU's command line (qemu(1)). Paths are those of its jail. Its own seccomp filter is on besides the jail's: no new programs, no new
 * privileges. Pure.
 */
export function qemuArgs(input: MachineInput): readonly string[] {
  const { qemu, memoryBytes, cpus, disk, shares, network, control = false } = input;
  return [
    qemu,
    ...['-no-user-config', '-nodefaults', '-nographic', '-no-reboot'],
    ...machineType(input),
    ...['-smp', String(cpus), '-m', `${mebibytes(memoryBytes)}M`],
    ...memoryArgs(input),
    ...(control
      ? [
          ...['-chardev', `socket,id=control,path=${PLACES.sockets}/${CONTROL_SOCKET}`],
          ...['-mon', 'chardev=control,mode=control'],
        ]
      : []),
    ...['-kernel', PLACES.kernel, '-initrd', PLACES.initrd, '-append', kernelLine(input)],
    ...['-device', 'virtio-serial-device'],
    ...['-chardev', `socket,id=console,fd=${CONSOLE}`, '-device', 'virtconsole,chardev=console'],
    ...[
      '-chardev',
      `socket,id=agent,fd=${CHANNEL}`,
      '-device',
      `virtserialport,chardev=agent,name=${AGENT_PORT}`,
    ],
    ...(input.files === true ? filesArgs(PLACES.sockets) : []),
    ...(control ? keeperArgs() : []),
    ...(disk ? diskArgs() : []),
    ...(network ? ['-netdev', 'user,id=net', '-device', 'virtio-net-device,netdev=net'] : []),
    ...shares.flatMap(shareArgs),
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  ];
}

/** Of one name in all of them, by which a template's is found. A machine that goes on from one waits until it is told where to. */
function memoryArgs({ memory = 'fresh', memoryBytes, shares }: MachineInput): readonly string[] {
  const size = `id=ram,size=${mebibytes(memoryBytes)}M`;
  const file = (at: string, how: string): string => `memory-backend-file,${size},mem-path=${at},${how}`;
  switch (memory) {
    case 'fresh':
      return ['-object', `memory-backend-memfd,${size},share=${shares.length > 0 ? 'on' : 'off'}`];
    case 'saved':
      return ['-object', file(`${PLACES.memory}/${MEMORY_FILE}`, 'share=on')];
    case 'shared':
      return ['-object', file(`${PLACES.memory}/${MEMORY_FILE}`, 'share=on'), '-incoming', 'defer'];
    case 'private':
      return ['-object', file(PLACES.template, 'share=off,readonly=on,rom=off'), '-incoming', 'defer'];
  }
}

/** The file of a machine's memory, below `PLACES.memory`. */
export const MEMORY_FILE = 'ram';

function keeperArgs(): readonly string[] {
  return [
    ...['-chardev', `socket,id=keeper,path=${PLACES.sockets}/${KEEPER_SOCKET}`],
    ...['-device', `virtserialport,chardev=keeper,name=${KEEPER_PORT}`],
  ];
}

function diskArgs(): readonly string[] {
  return [
    ...['-drive', `file=${PLACES.disk},if=none,id=base,format=raw,readonly=on`],
    ...['-device', 'virtio-blk-device,drive=base,serial=base'],
  ];
}

function shareArgs(name: ShareName): readonly string[] {
  return [
    ...['-chardev', `socket,id=${name},path=${PLACES.sockets}/${name}`],
    ...['-device', `vhost-user-fs-device,chardev=${name},tag=${name}`],
  ];
}

/** What QEMU keeps of translated code at most, MiB. Its own choice is a gigabyte; what a toolchain runs over and over fits into this. */
const TRANSLATED_MIB = 128;

/** `-cpu Nehalem`: the oldest that Debian's programs for x86-64 run on, and the cheapest to translate. */
function machineType({ arch, accelerator }: MachineInput): readonly string[] {
  const isKvm = accelerator === 'kvm';
  const translate = isKvm ? 'kvm' : `tcg,thread=single,tb-size=${TRANSLATED_MIB}`;
  if (arch === 'arm64') {
    const machine = 'virt,memory-backend=ram,gic-version=max';
    return ['-M', machine, '-accel', translate, '-cpu', isKvm ? 'host' : 'cortex-a57'];
  }
  const machine = 'microvm,x-option-roms=off,rtc=on,isa-serial=off,memory-backend=ram';
  return ['-bios', 'qboot.rom', '-M', machine, '-accel', translate, '-cpu', isKvm ? 'host' : 'Nehalem-v1'];
}

const mebibytes = (bytes: number): number => Math.ceil(bytes / 1024 ** 2);

export interface MachineJailInput {
  readonly accelerator: Accelerator;
  readonly agent: string;
  readonly qemu: string;
  /** Files of the host. */
  readonly kernel: string;
  readonly initrd: string;
  /** Absent: the machine has no disk. */
  readonly disk?: string;
  /** Directory of the host for the sockets of the shares. */
  readonly sockets: string;
  /** What its memory needs there. Default: nothing. */
  readonly place?: MemoryPlace;
}

export type MemoryPlace =
  /** Directory of the host that keeps it. */
  | { readonly kind: 'saved'; readonly directory: string }
  /** Template on the host, and its length in bytes. */
  | { readonly kind: 'shared' | 'private'; readonly template: string; readonly bytes: number };

/**
 * The jail of QEMU: programs and libraries of the host's system, the machine's three files, and nothing of the policy. A hole in QEMU finds
 * no file of the user's there, and a network in which only the relay listens. Pure.
 */
export function machineJailArgs(input: MachineJailInput): readonly string[] {
  const { accelerator, agent, kernel, initrd, disk, sockets, place } = input;
  return [
    'bwrap',
    ...[
      '--unshare-user',
      '--unshare-pid',
      '--unshare-ipc',
      '--unshare-uts',
      '--unshare-cgroup',
      '--disable-userns',
    ],
    ...['--as-pid-1', '--die-with-parent', '--clearenv', '--cap-drop', 'ALL'],
    ...['--uid', '1000', '--gid', '1000', '--hostname', 'machine'],
    ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
    ...[
      '--ro-bind-try',
      '/etc/ld.so.cache',
      '/etc/ld.so.cache',
      '--ro-bind-try',
      '/etc/alternatives',
      '/etc/alternatives',
    ],
    ...[
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--perms',
      '700',
      '--size',
      String(SCRATCH_BYTES),
      '--tmpfs',
      '/tmp',
    ],
    ...(accelerator === 'kvm' ? ['--dev-bind', '/dev/kvm', '/dev/kvm'] : []),
    ...['--ro-bind', kernel, PLACES.kernel, '--ro-bind', initrd, PLACES.initrd],
    ...(disk === undefined ? [] : ['--ro-bind', disk, PLACES.disk]),
    ...['--ro-bind', sockets, PLACES.sockets],
    ...(place === undefined ? [] : placeArgs(place)),
    ...['--ro-bind', agent, AGENT_PATH, '--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/'],
    ...['--', AGENT_PATH, place?.kind === 'shared' ? 'recall' : 'init'],
  ];
}

/** A copy lies in memory and belongs to the jail alone, whatever becomes of us. */
function placeArgs(place: MemoryPlace): readonly string[] {
  if (place.kind === 'saved') return ['--bind', place.directory, PLACES.memory];
  const template = ['--ro-bind', place.template, PLACES.template];
  if (place.kind === 'private') return template;
  const bytes = String(place.bytes + SCRATCH_BYTES);
  return [...template, '--perms', '700', '--size', bytes, '--tmpfs', PLACES.memory];
}

/** QEMU writes nothing there; its libraries may. */
const SCRATCH_BYTES = 1024 * 1024;

export interface ShareJailInput {
  readonly agent: string;
  readonly server: FileServer;
  /** What it serves, at its places in the sandbox. */
  readonly mounts: readonly Mount[];
  readonly scratch: string;
  readonly sockets: string;
  /**
   * For gVisor's gofer, which opens a file again that a program made read-only and still writes to, as git does: the server opens what the caller
   * owns whatever its mode says (CAP_DAC_OVERRIDE in the jail's user namespace, which knows the caller alone). Default false.
   */
  readonly reopens?: boolean;
}

/** virtiofsd as it stands on the host: where Debian's release has none, a newer one with libraries of its own. */
export interface FileServer {
  readonly program: string;
  /** Directory of its loader and libraries; absent: the system's. */
  readonly libraries?: string;
}

/** The server's directory in its jail. */
const SERVER = '/server';

/** The jail of the file server: the shared trees with the host's masks, and nothing else of the host. Pure. */
export function shareJailArgs(input: ShareJailInput): readonly string[] {
  const { agent, server, mounts, scratch, sockets, reopens = false } = input;
  return [
    'bwrap',
    ...[
      '--unshare-user',
      '--unshare-pid',
      '--unshare-ipc',
      '--unshare-uts',
      '--unshare-cgroup',
      '--disable-userns',
    ],
    ...['--as-pid-1', '--die-with-parent', '--clearenv', '--cap-drop', 'ALL'],
    ...(reopens ? ['--cap-add', 'CAP_DAC_OVERRIDE'] : []),
    // The guest's user has the same number, so what it makes is its own there, and the caller's here.
    ...['--uid', '1000', '--gid', '1000', '--hostname', 'files'],
    ...systemOf(server),
    // The server reopens files by their descriptors.
    ...['--proc', '/proc', '--dev', '/dev'],
    ...['--bind', sockets, PLACES.sockets],
    ...mounts.flatMap((mount) => mountArgs(mount, scratch, PLACES.view)),
    ...['--ro-bind', agent, AGENT_PATH, '--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/'],
    ...['--', AGENT_PATH, 'init'],
  ];
}

function systemOf({ program, libraries }: FileServer): readonly string[] {
  if (libraries !== undefined) return ['--ro-bind', libraries, SERVER];
  return [
    ...['--ro-bind', '/usr/lib', '/usr/lib', '--ro-bind-try', '/usr/lib64', '/usr/lib64'],
    ...['--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
    ...['--ro-bind-try', '/etc/ld.so.cache', '/etc/ld.so.cache', '--ro-bind', program, `${SERVER}/virtiofsd`],
  ];
}

/** How long the guest may trust what it has read: a base system stays as it is while a sandbox lives, trees are changed from outside. */
const CACHE: Readonly<Record<ShareName, string>> = { base: 'always', view: 'auto' };

/**
 * virtiofsd's command line. The jail is its sandbox, so it makes none itself. `--cache=auto`: the guest asks again after a second whether a file
 * changed, and whenever it is opened. Pure.
 */
export function shareArgv(
  { program, libraries }: FileServer,
  {
    name,
    loader,
    succeeds,
  }: { readonly name: ShareName; readonly loader: string; readonly succeeds?: boolean },
): readonly string[] {
  const file = path.basename(program);
  const command =
    libraries === undefined
      ? [`${SERVER}/virtiofsd`]
      : [`${SERVER}/${loader}`, '--library-path', SERVER, `${SERVER}/${file}`];
  return [
    ...command,
    `--socket-path=${PLACES.sockets}/${name}`,
    `--shared-dir=${PLACES.view}`,
    ...['--sandbox=none', '--seccomp=kill', `--cache=${CACHE[name]}`, '--inode-file-handles=never'],
    ...['--thread-pool-size=0', '--rlimit-nofile=0', '--log-level=warn'],
    // A file that is gone is an error for whoever of the copy still has it open, and not for the copy.
    ...(succeeds === true ? ['--migration-on-error=guest-error'] : []),
  ];
}
