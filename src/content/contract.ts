import type { RawHeaders } from '../net/http-head.ts';

// The shapes are those of the gateway's contract. The two rooms do not know each other: `sandbox/` hands one to the other, and the
// compiler compares the shapes there.

/** Something that must not leave, or that could not be looked into. Never the value. */
export interface ScanFinding {
  /**
   * Id of the pattern, `secret:NAME`, `canary`, `custom:NAME`, `data-in-name`, `uninspectable:size|depth|coding`, or
   * `unscanned:busy|time|failed` when the thread that had to look did not.
   */
  readonly kind: string;
  /** `host`, `path`, `query`, `header:NAME`, `body`, `websocket`. */
  readonly place: string;
  /** Keyed hash of what was found, 12 hex digits: the same value is told again by the same process, and nothing is learnt from it. */
  readonly hash: string;
}

/** What the scanner reads of a request's head. */
export interface ScanRequest {
  /** Path and query as they came. */
  readonly target: string;
  /** As they came; names in any case. */
  readonly headers: RawHeaders;
}

/** At once, or from another thread; never rejected. */
export type Scanned = ScanFinding | undefined | Promise<ScanFinding | undefined>;

/** Looks for data that must not leave. All methods take linear time and throw nothing. */
export interface ContentScanner {
  readonly maxInspectBytes: number;
  readonly uninspectable: 'deny' | 'allow';
  readonly action: 'deny' | 'observe';
  readonly everywhere: boolean;
  /** A canonical host name. */
  name(host: string): ScanFinding | undefined;
  head(request: ScanRequest): ScanFinding | undefined;
  /** A whole body; `headers` tell its codings. */
  body(body: Uint8Array, headers: RawHeaders): Scanned;
  /** One WebSocket message. */
  message(data: Uint8Array): Scanned;
}
