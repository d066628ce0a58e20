import type { SystemFact } from '../drivers/view.ts';

/** Architectures that a guest can have, as the kernel and QEMU call them. It is always the host's own. */
export type MachineArch = 'x86_64' | 'aarch64';

/** A kernel of this machine's architecture, looked at and found whole as far as its header says. */
export interface Kernel {
  /** Absolute: as the distribution ships it. */
  readonly file: string;
  /** `bzimage`: x86 boot protocol; `elf`: ready for PVH; `image`: what arm64 boots, plain or gzip. */
  readonly format: 'bzimage' | 'elf' | 'image';
  readonly arch: MachineArch;
  /** `uname -r` of the guest; the name of its modules' directory. */
  readonly release: string;
  /** Absolute: `lib/modules/RELEASE`. */
  readonly modules: string;
}

/**
 * What the guest's kernel must be able to do. Modules for exactly these are in the initial RAM disk; `console` (the agent's channel, where it is
 * a virtio-serial port) and `root` (the read-only root and the writable layer over it) always are.
 */
export type GuestFeature = 'network' | 'share' | 'vsock';

/**
 * Where the files of the guest's root come from. Whoever names an image of the store holds a lease on it while the root is made.
 */
export type RootSource =
  | HostRoot
  /** A root file system in a directory; `key` names its content where somebody knows it (the chain of an image). */
  | { readonly kind: 'tree'; readonly root: string; readonly label: string; readonly key?: string };

/** The same trees of the host that the other tiers show. */
export interface HostRoot {
  readonly kind: 'host';
  readonly system: readonly SystemFact[];
  /** Directories that stand empty in the root, should they lie in one of the trees: home, workspace, Glovebox's own. Absolute. */
  readonly hidden: readonly string[];
}

/** Something happens that takes time; for progress lines. */
export type OnProgress = (line: string) => void;

/** A file of the cache. It stays as it is while the lease lives that it was asked for with. */
export interface Artefact {
  /** Absolute; read-only. */
  readonly file: string;
  /** SHA-256 of its content, hex; empty where it was asked for `unread`. */
  readonly sha256: string;
  readonly bytes: number;
}

/**
 * Everything that a machine boots. Its parts say to the agent that is `/init`:
 *
 * - the initial RAM disk has `/modules`, one absolute path a line, in the order in which they have to be loaded; the directories
 *   `/dev`, `/proc`, `/sys`, `/run`, `/newroot`; and `/dev/console`, `/dev/null`, `/dev/kmsg`
 * - the root is erofs, everything in it belongs to 0:0 and no file to the guest's user; it may hold set-user-ID programs and device nodes of
 *   a directory that somebody unpacked as root, so it is to be mounted `ro,nosuid,nodev`
 */
export interface GuestSystem {
  readonly release: string;
  readonly arch: MachineArch;
  /** `vmlinux` on x86-64, `Image` on arm64. */
  readonly kernel: Artefact;
  readonly initrd: Artefact;
  readonly root: Artefact;
}
