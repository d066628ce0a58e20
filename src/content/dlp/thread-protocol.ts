import type { RawHeaders } from '../../net/http-head.ts';
import type { DlpPolicy } from '../../policy/contract.ts';
import type { ScanFinding } from '../contract.ts';

/** What a scanner is made from, as a thread can be told: the bytes are copies. */
export interface ScanConfig {
  readonly policy: DlpPolicy;
  readonly secrets: readonly { readonly name: string; readonly bytes: Uint8Array }[];
  readonly hashKey: Uint8Array;
}

/** Something to look into. */
export interface ScanWork {
  readonly data: Uint8Array;
  /** Those of a request body; absent for a WebSocket message. */
  readonly headers?: RawHeaders;
  /** Placeholders that are valid now. */
  readonly exempt: readonly string[];
}

export interface ThreadRequest extends ScanWork {
  /** Sent when it differs from the one before. */
  readonly config?: ScanConfig;
}

/** Answers come in the order of the requests; there is one at a time. */
export interface ThreadAnswer {
  readonly finding: ScanFinding | undefined;
}
