/** Where things stand in Firecracker's jail. The same in every jail, so that a snapshot taken in one is found whole in another. */
export const PLACES = {
  program: '/firecracker',
  /** Sockets between the jail and the host. */
  sockets: '/sockets',
  kernel: '/machine/kernel',
  initrd: '/machine/initrd',
  base: '/machine/base',
  /** A snapshot's two files: written there by a template, read there by its clones. */
  snapshot: '/snapshot',
} as const;

/** Sockets below `PLACES.sockets`, and below the host's directory for them. */
export const SOCKETS = {
  api: 'api',
  /** Where Firecracker listens for us; what the guest connects to is `${guest}_PORT`. */
  guest: 'guest',
} as const;

/** Files below `PLACES.snapshot`. */
export const SNAPSHOT = { state: 'state', memory: 'memory' } as const;

/** Ports of AF_VSOCK. */
export const PORTS = {
  /** The guest's first process listens there; its listener outlives a snapshot, a connection does not. */
  agent: 1024,
  /** The host's end of the guest's relay. */
  relay: 1025,
  /** Where the guest's first process takes copied trees, and gives one of them back. */
  files: 1026,
} as const;

/** The socket that Firecracker connects to for the guest's relay (Firecracker, docs/vsock.md, guest-initiated connections). */
export const relaySocket = (): string => `${SOCKETS.guest}_${PORTS.relay}`;

/** The host's address, as the guest knows it (vsock(7), VMADDR_CID_HOST). */
export const HOST_CID = 2;

/** The least address that is a guest's (vsock(7): 0 to 2 are taken). Every machine is alone in its jail, so all have this one. */
export const GUEST_CID = 3;
