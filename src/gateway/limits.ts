/** Bounds of one gateway; every number may be replaced by `GatewayOptions.limits`. */
export interface GatewayLimits {
  /** Client connections at once, over all listeners. Two descriptors each; the usual soft limit is 1,024. */
  readonly connections: number;
  /** Time for a CONNECT head, a SOCKS handshake or a ClientHello, all of it, not per byte (slowloris). */
  readonly handshakeMs: number;
  /** Time for the first head of an HTTP connection. */
  readonly headMs: number;
  /** Time that an HTTP connection may idle between requests. */
  readonly idleMs: number;
  /** Time without one byte in a request body or in a response the client does not read. */
  readonly stallMs: number;
  /** Time that an origin may think before or within a response: language models think for minutes. */
  readonly upstreamIdleMs: number;
  /** Time that one direction of a tunnel may idle once the other has ended. */
  readonly halfClosedMs: number;
  readonly resolveMs: number;
  /** Time to connect, for each vetted address. */
  readonly dialMs: number;
  /** Vetted addresses tried for one connection. */
  readonly dialAddresses: number;
  /** Bytes of an HTTP head; Node's default of 16 KiB is too small for some cookies. */
  readonly headBytes: number;
  /** Time and bytes that a refused client gets to read the refusal. */
  readonly lingerMs: number;
  readonly lingerBytes: number;
  /** Names that get a synthetic address in the life of a sandbox. */
  readonly names: number;
  /** Distinct new names under one wildcard rule in a minute: each is a resolver query that its owner can read. */
  readonly wildcardNamesPerMinute: number;
  /** Questions to a person, or to `onAsk`, within any 60 seconds: a sandbox must not tire anybody into saying yes. */
  readonly questionsPerMinute: number;
  /** Distinct refusals kept for counting repeats. */
  readonly refusalKeys: number;
  /** Distinct refusals recorded at once, and refilled per second; beyond that they are counted together. */
  readonly refusalBurst: number;
  readonly refusalsPerSecond: number;
  /** Records of requests, of connections and of allowed destinations: each kind at once, and refilled per second; beyond that like ones are one. */
  readonly recordBurst: number;
  readonly recordsPerSecond: number;
  /** Different records held back at once, and for how long. */
  readonly foldKeys: number;
  readonly foldMs: number;
  /** Interval at which counted repeats are recorded. */
  readonly flushMs: number;
  /** Bytes of request bodies held back for inspection, over all requests at once. */
  readonly bufferedBytes: number;
  /** Bytes of one request body that is held back for its rule, where the rule has no limit of its own. */
  readonly bodyBytes: number;
  /** Bytes of a form for a pinned host that is held back until its fields were judged; a longer one is judged as it passes. */
  readonly formBytes: number;
  /** Decoded bytes of one response for each encoded one, beyond a first MiB: more is a bomb. */
  readonly inflateRatio: number;
  /** Upstream HTTP connections at once per host, and kept idle for this long. */
  readonly poolSockets: number;
  readonly poolIdleMs: number;
  /** Idle upstream connections over all hosts; the one that has waited longest goes first. */
  readonly poolIdle: number;
}

/** The defaults. */
export const GATEWAY_LIMITS: GatewayLimits = {
  connections: 512,
  handshakeMs: 10_000,
  headMs: 15_000,
  idleMs: 65_000,
  stallMs: 120_000,
  upstreamIdleMs: 600_000,
  halfClosedMs: 120_000,
  resolveMs: 10_000,
  dialMs: 10_000,
  dialAddresses: 8,
  headBytes: 32 * 1024,
  lingerMs: 1_000,
  lingerBytes: 256 * 1024,
  names: 16_384,
  wildcardNamesPerMinute: 50,
  questionsPerMinute: 60,
  refusalKeys: 1_024,
  refusalBurst: 200,
  refusalsPerSecond: 10,
  recordBurst: 2_000,
  recordsPerSecond: 100,
  foldKeys: 256,
  foldMs: 1_000,
  flushMs: 10_000,
  bufferedBytes: 64 * 1024 * 1024,
  bodyBytes: 10 * 1024 * 1024,
  formBytes: 1024 * 1024,
  inflateRatio: 200,
  poolSockets: 64,
  poolIdleMs: 30_000,
  poolIdle: 128,
};
