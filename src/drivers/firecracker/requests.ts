import { GloveboxError } from '../../base/errors.ts';
import { kernelLine } from './args.ts';
import { GUEST_CID, PLACES, SNAPSHOT, SOCKETS } from './layout.ts';

/**
 * One call of Firecracker's API: exactly the fields that we send, as its OpenAPI document names them (Firecracker,
 * src/firecracker/swagger/firecracker.yaml).
 */
export type ApiCall =
  | { readonly method: 'PUT'; readonly path: '/logger'; readonly body: Logger }
  | { readonly method: 'PUT'; readonly path: '/machine-config'; readonly body: MachineConfiguration }
  | { readonly method: 'PUT'; readonly path: '/boot-source'; readonly body: BootSource }
  | { readonly method: 'PUT'; readonly path: `/drives/${string}`; readonly body: Drive }
  | { readonly method: 'PUT'; readonly path: '/vsock'; readonly body: Vsock }
  | { readonly method: 'PUT'; readonly path: '/entropy'; readonly body: EntropyDevice }
  | { readonly method: 'PUT'; readonly path: '/actions'; readonly body: Action }
  | { readonly method: 'PUT'; readonly path: '/snapshot/create'; readonly body: SnapshotCreate }
  | { readonly method: 'PUT'; readonly path: '/snapshot/load'; readonly body: SnapshotLoad }
  | { readonly method: 'PATCH'; readonly path: '/vm'; readonly body: Vm };

interface Logger {
  readonly level: 'Error' | 'Warning' | 'Info' | 'Debug' | 'Trace' | 'Off';
  readonly show_level: boolean;
}

interface MachineConfiguration {
  /** 1 to 32. */
  readonly vcpu_count: number;
  readonly mem_size_mib: number;
  readonly smt: boolean;
  readonly track_dirty_pages: boolean;
}

interface BootSource {
  readonly kernel_image_path: string;
  readonly initrd_path: string;
  readonly boot_args: string;
}

interface Drive {
  readonly drive_id: string;
  readonly path_on_host: string;
  readonly is_root_device: boolean;
  readonly is_read_only: boolean;
  readonly cache_type: 'Unsafe' | 'Writeback';
  readonly io_engine: 'Sync' | 'Async';
}

interface Vsock {
  readonly guest_cid: number;
  readonly uds_path: string;
}

interface EntropyDevice {
  readonly rate_limiter: { readonly bandwidth: { readonly size: number; readonly refill_time: number } };
}

interface Action {
  readonly action_type: 'FlushMetrics' | 'InstanceStart' | 'SendCtrlAltDel';
}

interface SnapshotCreate {
  readonly snapshot_type: 'Full' | 'Diff';
  readonly snapshot_path: string;
  readonly mem_file_path: string;
}

interface SnapshotLoad {
  readonly snapshot_path: string;
  readonly mem_backend: { readonly backend_type: 'File' | 'Uffd'; readonly backend_path: string };
  readonly resume_vm: boolean;
}

interface Vm {
  readonly state: 'Paused' | 'Resumed';
}

export interface BootInput {
  readonly arch: 'x64' | 'arm64';
  /** Memory of the guest, bytes. */
  readonly memoryBytes: number;
  readonly cpus: number;
  /** The base system is a disk of the machine. */
  readonly disk: boolean;
}

/** Firecracker's own bound on processors of one machine. */
export const CPUS_MAX = 32;

const MIB = 1024 ** 2;

/** What the guest may draw of the host's random numbers: bytes for each refill, and the refill's milliseconds. */
const ENTROPY = { size: 4096, refill_time: 100 } as const;

/**
 * The calls that boot a machine, in order; `InstanceStart` is the last, because all else is taken only before it. There is no
 * network card: the relay's connections go over vsock. Pure.
 *
 * @throws E_UNSUPPORTED for a machine that Firecracker does not build
 */
export function bootCalls(input: BootInput): readonly ApiCall[] {
  return [
    logger(),
    { method: 'PUT', path: '/machine-config', body: machineConfiguration(input) },
    { method: 'PUT', path: '/boot-source', body: bootSource(input) },
    ...(input.disk ? [baseDrive()] : []),
    { method: 'PUT', path: '/vsock', body: { guest_cid: GUEST_CID, uds_path: inSockets(SOCKETS.guest) } },
    { method: 'PUT', path: '/entropy', body: { rate_limiter: { bandwidth: ENTROPY } } },
    { method: 'PUT', path: '/actions', body: { action_type: 'InstanceStart' } },
  ];
}

/** Stops a machine between two instructions, and lets it go on. Only after it was started. Pure. */
export const pauseCall = (): ApiCall => ({ method: 'PATCH', path: '/vm', body: { state: 'Paused' } });
export const resumeCall = (): ApiCall => ({ method: 'PATCH', path: '/vm', body: { state: 'Resumed' } });

/** The calls that make a template of a running machine. It stays paused: whoever lets it go on has a second machine with the same secrets. Pure. */
export function snapshotCalls(): readonly ApiCall[] {
  const body = {
    snapshot_type: 'Full',
    snapshot_path: inSnapshot(SNAPSHOT.state),
    mem_file_path: inSnapshot(SNAPSHOT.memory),
  } as const;
  return [pauseCall(), { method: 'PUT', path: '/snapshot/create', body }];
}

/**
 * The calls that make a clone of a template, in a Firecracker that was told nothing else. Its disk and its vsock socket are where the template had
 * them; its memory is the template's file, copied where it is written to, so the file must stay as it is while clones live. Pure.
 */
export function restoreCalls(): readonly ApiCall[] {
  const body = {
    snapshot_path: inSnapshot(SNAPSHOT.state),
    mem_backend: { backend_type: 'File', backend_path: inSnapshot(SNAPSHOT.memory) },
    resume_vm: false,
  } as const;
  return [logger(), { method: 'PUT', path: '/snapshot/load', body }, resumeCall()];
}

/** To standard output, which is the tail that a refusal quotes. */
const logger = (): ApiCall => ({
  method: 'PUT',
  path: '/logger',
  body: { level: 'Warning', show_level: true },
});

function machineConfiguration({ cpus, memoryBytes }: BootInput): MachineConfiguration {
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > CPUS_MAX)
    throw unsupported(`${cpus} processors`, `1 to ${CPUS_MAX} are possible`);
  const mebibytes = Math.ceil(memoryBytes / MIB);
  if (!Number.isSafeInteger(mebibytes) || mebibytes < 1)
    throw unsupported(`${memoryBytes} bytes of memory`, 'it is counted in MiB');
  // Siblings of one core share what one of them may read of the other; dirty pages are for snapshots of a difference, which we do not make.
  return { vcpu_count: cpus, mem_size_mib: mebibytes, smt: false, track_dirty_pages: false };
}

const bootSource = ({ arch }: BootInput): BootSource => ({
  kernel_image_path: PLACES.kernel,
  initrd_path: PLACES.initrd,
  boot_args: kernelLine(arch),
});

/** Not the root device: the kernel's command line names no root, because the initial RAM disk's first process mounts it. */
function baseDrive(): ApiCall {
  const id = 'base';
  const body = {
    drive_id: id,
    path_on_host: PLACES.base,
    is_root_device: false,
    is_read_only: true,
    cache_type: 'Unsafe',
    io_engine: 'Sync',
  } as const;
  return { method: 'PUT', path: `/drives/${id}`, body };
}

const inSockets = (name: string): string => `${PLACES.sockets}/${name}`;
const inSnapshot = (name: string): string => `${PLACES.snapshot}/${name}`;

function unsupported(what: string, why: string): GloveboxError {
  return new GloveboxError('E_UNSUPPORTED', { what: `Firecracker builds no machine with ${what}`, why });
}
