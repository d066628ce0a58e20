import { optional, word, type EventSpec } from './spec.ts';

export interface NetworkRequest {
  readonly action: 'allow' | 'deny';
  readonly wouldDeny?: string;
  readonly rule: string;
  readonly reason: string;
  readonly entry: string;
  readonly host: string;
  readonly port: number;
  readonly http: string;
  readonly method: string;
  readonly path: string;
  readonly queryNames: readonly string[];
  readonly status: number;
  readonly upBytes: number;
  readonly downBytes: number;
  readonly durationMs: number;
  readonly credential?: string;
  readonly pin?: string;
  readonly foreign?: string;
  readonly dlp?: readonly object[];
  readonly alarm?: true;
  readonly repeats?: number;
}

export const networkRequest: EventSpec<NetworkRequest> = {
  kind: 'network.request',
  doc: 'One request that the gateway read came to its end. Values of headers, queries and bodies are never in it.',
  fields: {
    action: 'allow or deny',
    wouldDeny: 'what a rule that only observes would have refused',
    rule: 'id of the rule that decided',
    reason: 'one sentence',
    entry: 'how it came in: http-proxy, socks, transparent',
    host: 'canonical name or address',
    port: 'port',
    http: 'version: 1.0, 1.1 or 2',
    method: 'method',
    path: 'path without the query, at most 1 KiB',
    queryNames: 'names of the query parameters',
    status: 'status that the client got; 0 when it got none',
    upBytes: 'bytes of the request body',
    downBytes: 'bytes of the response body',
    durationMs: 'milliseconds from the head of the request to the end of the response',
    credential: 'name of the credential that was put in',
    pin: 'ok, absent, missing, foreign, multiple or misplaced, where the rule is pinned',
    foreign: 'keyed hash of a foreign credential, to tell the same one again',
    dlp: 'what the scanner found: kind, place, keyed hash',
    alarm: 'true when a secret or placeholder was where it must not be',
    repeats: 'this many more like it, with any path, are in the sums; absent on a record of one',
  },
  say: (data) =>
    `${word(data, 'action')} ${word(data, 'method')} ${word(data, 'host')}:${word(data, 'port')}${word(data, 'path')} ${word(data, 'status')}` +
    (data['action'] === 'allow' ? optional(data, 'credential', ' as ') : `: ${word(data, 'reason')}`),
};
