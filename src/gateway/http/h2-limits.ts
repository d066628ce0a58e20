/** Bounds of HTTP/2 that have no counterpart in HTTP/1. What a hostile peer can make happen without asking for anything is counted per window. */
export interface H2Limits {
  /** Streams at once on a connection, told to the peer (RFC 9113 §5.1.2 advises at least 100). */
  readonly streams: number;
  /** Streams at once over all client connections; bounds the memory of what origins send and nobody reads. */
  readonly streamsInAll: number;
  /** Length of a counting window. */
  readonly windowMs: number;
  /** Streams that a peer may reset before they are answered, per window (rapid reset, CVE-2023-44487). */
  readonly resets: number;
  /** Streams that the parser refuses as malformed, per window. */
  readonly malformed: number;
  /** PING and SETTINGS frames per window; keep-alive sends one in ten seconds. */
  readonly pings: number;
  readonly settings: number;
  /** Bytes of frames that carry neither a head nor a body, per window, beyond 1/8 of what was transferred (window updates, priorities, unknown frames). */
  readonly idleBytes: number;
  /** Bytes that a client may send on one stream before the gateway gives more (RFC 9113 §6.9). The path is local. */
  readonly clientWindow: number;
  /** The same for an origin: at 20 ms to the origin, 512 KiB is 25 MB/s. Held in memory when a client does not read. */
  readonly originWindow: number;
  /** For all streams of an origin together. */
  readonly originConnectionWindow: number;
  /** MiB of header tables and frames that Node may hold for a connection. */
  readonly sessionMegabytes: number;
  /** Informational answers (RFC 9110 §15.2) before the final one. */
  readonly informational: number;
}

/** The defaults. */
export const H2_LIMITS: H2Limits = {
  streams: 128,
  streamsInAll: 512,
  windowMs: 10_000,
  resets: 200,
  malformed: 50,
  pings: 300,
  settings: 50,
  idleBytes: 256 * 1024,
  clientWindow: 128 * 1024,
  originWindow: 512 * 1024,
  originConnectionWindow: 4 * 1024 * 1024,
  sessionMegabytes: 32,
  informational: 32,
};

/** Header lines that Node may keep before it resets the stream: above our own cap, so that the refusal is ours and leaves a record. */
export const NODE_HEADER_PAIRS = 1_024;

/** Error codes of RFC 9113 §7. */
export const H2_CODE = {
  none: 0x0,
  protocol: 0x1,
  internal: 0x2,
  refusedStream: 0x7,
  cancel: 0x8,
  enhanceYourCalm: 0xb,
} as const;
