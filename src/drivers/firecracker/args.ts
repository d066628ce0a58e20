import { AGENT_PATH } from '../bubblewrap/args.ts';
import { HOST_CID, PLACES, SOCKETS } from './layout.ts';

/**
 * Kernel command line (Documentation/admin-guide/kernel-parameters.txt). `reboot=k`: the keyboard controller's reset is how a guest ends
 * Firecracker. `i8042.*`: the controller has nothing else, and looking for it costs time. `pci=off`: there is no such bus unless Firecracker is told to
 * make one. `glovebox_vsock`: for our agent, whose channel and relay are connections over vsock then.
 */
export function kernelLine(arch: 'x64' | 'arm64'): string {
  const keyboard = arch === 'x64' ? ['i8042.noaux', 'i8042.nomux', 'i8042.dumbkbd'] : [];
  return [
    ...['console=ttyS0', 'reboot=k', 'panic=-1', 'pci=off', ...keyboard],
    ...['quiet', 'loglevel=1', 'mitigations=off', 'audit=0', 'random.trust_cpu=on'],
    ...['cryptomgr.notests', 'init_on_alloc=0', 'swiotlb=noforce', `glovebox_vsock=${HOST_CID}`],
  ].join(' ');
}

/** Firecracker's command line. Its own seccomp filters stay on: they are the default, and `--no-seccomp` is never said. Pure. */
export function firecrackerArgs(id: string): readonly string[] {
  return [PLACES.program, '--api-sock', `${PLACES.sockets}/${SOCKETS.api}`, '--id', instanceId(id)];
}

/** Firecracker takes 1 to 64 letters, digits and hyphens. Pure. */
export const instanceId = (id: string): string =>
  id.replaceAll(/[^A-Za-z0-9-]/g, '-').slice(0, 64) || 'machine';

export interface FirecrackerJailInput {
  readonly agent: string;
  /** Firecracker on the host, linked statically as its releases are. */
  readonly firecracker: string;
  /** The device that Firecracker opens: /dev/kvm. */
  readonly kvm: string;
  /** Files of the host. */
  readonly kernel: string;
  readonly initrd: string;
  /** Absent: the machine has no disk. */
  readonly base?: string;
  /** Directory of the host for `SOCKETS`. */
  readonly sockets: string;
  /** Directory of the host for `SNAPSHOT`; only a template writes there. */
  readonly snapshot?: { readonly directory: string; readonly writable: boolean };
}

/**
 * The jail of Firecracker, instead of its jailer: the same walls without root. A root of its own with one program, the machine's files,
 * /dev/kvm and the directory for sockets; nothing of the host's system, because the program needs no library; no network at all. Pure.
 */
export function firecrackerJailArgs(input: FirecrackerJailInput): readonly string[] {
  const { agent, firecracker, kvm, kernel, initrd, base, sockets, snapshot } = input;
  return [
    'bwrap',
    ...['--unshare-user', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup'],
    ...['--unshare-net', '--disable-userns'],
    ...['--as-pid-1', '--die-with-parent', '--clearenv', '--cap-drop', 'ALL'],
    ...['--uid', '1000', '--gid', '1000', '--hostname', 'machine'],
    ...['--proc', '/proc', '--dev', '/dev', '--dev-bind', kvm, '/dev/kvm'],
    ...['--ro-bind', firecracker, PLACES.program],
    ...['--ro-bind', kernel, PLACES.kernel, '--ro-bind', initrd, PLACES.initrd],
    ...(base === undefined ? [] : ['--ro-bind', base, PLACES.base]),
    // Firecracker makes its two sockets itself, so here it writes: as the caller, and into a directory of this machine alone.
    ...['--bind', sockets, PLACES.sockets],
    ...(snapshot === undefined
      ? []
      : [snapshot.writable ? '--bind' : '--ro-bind', snapshot.directory, PLACES.snapshot]),
    ...['--ro-bind', agent, AGENT_PATH, '--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/'],
    ...['--', AGENT_PATH, 'init'],
  ];
}
