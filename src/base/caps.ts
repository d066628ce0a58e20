/** Every numeric cap, with its unit in the name and the reason beside it. */
export const CAPS = {
  /** A policy file larger than this is not a policy written by a person. */
  policyFileBytes: 1024 * 1024,
  /** `extends` deeper than this is a cycle or a mistake. */
  policyExtendsDepth: 8,
  /** Deny matches: one mount each; the kernel allows 100,000 mounts a namespace. */
  maskCount: 20_000,
  /** Directory entries visited while a deny glob is expanded, before the policy is refused as too broad. */
  globVisits: 2_000_000,
  /** Frames from a sandbox: larger is garbage or an attack. */
  framePayloadBytes: 64 * 1024,
  /** Boot messages go to the sandbox, they hold argv, environment and the mask list. */
  bootPayloadBytes: 16 * 1024 * 1024,
  /** Credit a stream starts with, and the most that may be unread on the host per stream. */
  streamWindowBytes: 256 * 1024,
  /** Streams at once in one sandbox. */
  streamCount: 1024,
  /** Output that a captured command may buffer on the host when no limit says otherwise. */
  capturedOutputBytes: 16 * 1024 * 1024,
  /** TCP listeners in a sandbox's namespace: one socket for each port the policy names. */
  listenerPorts: 256,
  /** Time the airlock and the agent have to be ready; a loaded two-core machine took 3 s at worst. */
  startMs: 30_000,
  /** Between TERM and KILL. */
  graceMs: 5_000,
  /** A name on the wire (RFC 1035 §2.3.4). */
  dnsNameBytes: 253,
  /** One canonical audit line; longer fields are cut and marked. */
  auditLineBytes: 64 * 1024,
  /** An audit file is rotated beyond this. */
  auditFileBytes: 32 * 1024 * 1024,
  /** How long a writer waits for the audit lock before the run is refused. */
  auditLockMs: 10_000,
  /** Appeared files that are listed on the terminal; the record has all, up to this many times 50. */
  appearedShown: 20,
} as const;
