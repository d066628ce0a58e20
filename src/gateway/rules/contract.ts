import type { RawHeaders } from '../../net/http-head.ts';
import type { Verdict } from '../contract.ts';

/** What the rules of a request look at: the head as it came, framing already judged. */
export interface RequestFacts {
  readonly http: '1.0' | '1.1' | '2';
  readonly method: string;
  /** Origin-form: path?query. */
  readonly target: string;
  readonly headers: RawHeaders;
  /** A well-formed opening handshake of RFC 6455. */
  readonly websocket: boolean;
  readonly hasBody: boolean;
}

export type RefusalStatus = 400 | 403 | 405;

/** A request that may go on with these headers, or a refusal. */
export type RulesVerdict =
  | {
      readonly state: 'pass';
      /** Canonical; as it came where no rule looks at paths and it has no canonical form. */
      readonly path: string;
      readonly queryNames: readonly string[];
      /** Flat list; hop-by-hop and framing lines are still there, they belong to whoever writes the request. */
      readonly headers: string[];
      /** The whole body has to be judged before the request leaves. */
      readonly needsBody: boolean;
      /** What a rule that only observes would have refused: `rule: reason`. */
      readonly wouldDeny?: string;
    }
  | {
      readonly state: 'refuse';
      readonly status: RefusalStatus;
      readonly verdict: Verdict;
      readonly path: string;
      readonly queryNames: readonly string[];
    };

/** What the rules say about a whole body; empty when nothing is against it. */
export interface BodyVerdict {
  readonly refuse?: Verdict;
  readonly status?: 400 | 403;
  readonly wouldDeny?: string;
}
