import type { Identity, ListenerSpec, PathBytes } from './contract.ts';

/** Where a part of the sandbox's root comes from, in order; a later one covers an earlier one. */
export type MachineMount =
  /** A tree or file of the machine's read-only base image. `source` is its path there. */
  | { readonly kind: 'base'; readonly source: PathBytes; readonly target: PathBytes }
  /** A tree or file of what the host shares. `source` is its path there. */
  | {
      readonly kind: 'share';
      readonly source: PathBytes;
      readonly target: PathBytes;
      readonly writable: boolean;
    }
  /** A tree or file that is copied into the machine's memory. `source` is its number: `/0`. */
  | {
      readonly kind: 'copied';
      readonly source: string;
      readonly target: PathBytes;
      readonly writable: boolean;
    }
  | { readonly kind: 'symlink'; readonly target: PathBytes; readonly to: PathBytes }
  | { readonly kind: 'dir'; readonly target: PathBytes; readonly mode: number }
  | { readonly kind: 'tmpfs'; readonly target: PathBytes; readonly bytes: number; readonly mode: number }
  | { readonly kind: 'proc'; readonly target: PathBytes }
  | { readonly kind: 'dev'; readonly target: PathBytes }
  /** An empty object that nobody can read. */
  | { readonly kind: 'hidden'; readonly target: PathBytes; readonly type: 'file' | 'dir' }
  | {
      readonly kind: 'file';
      readonly target: PathBytes;
      readonly mode: number;
      readonly content: Uint8Array;
    }
  /**
   * A file of the machine itself. For a guest kernel in it: the agent, the runtime of the initial RAM disk, or the socket that carries what
   * a relay inside sends (with `runtime` only). In any machine with a network: the socket of the ssh agent that is lent.
   */
  | {
      readonly kind: 'own';
      readonly source: '/init' | '/runsc' | '/relay.sock' | '/ssh-agent.sock';
      readonly target: PathBytes;
    };

/** Over a network card, whose own address stands on the kernel's command line: where its relay connects to. */
export interface CardNetwork {
  /** Dotted. */
  readonly relay: string;
  readonly relayPort: number;
  readonly listeners: readonly ListenerSpec[];
}

/** Over AF_VSOCK, in a machine whose channel is: there is no card, and its relay connects to a port of the host. */
export interface VsockNetwork {
  readonly vsockPort: number;
  readonly listeners: readonly ListenerSpec[];
}

/** What a machine that has booted is told, once: everything by which one sandbox differs from another of the same base. */
export interface MachineSpec {
  readonly hostname: string;
  /** 32 hexadecimal digits: machine-id(5). */
  readonly machineId: string;
  /** For the kernel's random number generator: RNDADDENTROPY of random(4). */
  readonly seed: Uint8Array;
  /** Nanoseconds since the epoch. */
  readonly clockNs: bigint;
  /** Ids of everything inside, and of the same user in the guest's kernel: those that files of the share have there. */
  readonly identity: Identity;
  /** Commands may make user namespaces. Default false. */
  readonly nesting?: boolean;
  /**
   * The sandbox is the runtime of a guest kernel: it is user 0 of a user namespace that knows `identity` only, keeps capabilities in it and may make
   * further ones, sees all of /proc, and has no listeners but the socket of a mount `relay`. Default false.
   */
  readonly runtime?: boolean;
  /** The way out. Absent: none. */
  readonly network?: CardNetwork | VsockNetwork;
  /** Files that each file server can hold for the machine; absent: as many as the machine's kernel remembers. */
  readonly files?: number;
  /** Tag of the virtiofs share; absent: nothing is shared. */
  readonly share?: string;
  /** Tag of the virtiofs share that holds the base system; absent: it is on the machine's disk. */
  readonly base?: string;
  /** Room for copied trees, which arrive on a port of their own; bytes. Absent: there are none. */
  readonly copiedBytes?: number;
  readonly mounts: readonly MachineMount[];
}
