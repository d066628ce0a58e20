import { word, type EventSpec } from './spec.ts';

export interface NetworkSummary {
  readonly host: string;
  readonly port: number;
  readonly rule: string;
  readonly upBytes: number;
  readonly downBytes: number;
  readonly durationMs: number;
  readonly end: string;
  readonly repeats?: number;
}

export const networkSummary: EventSpec<NetworkSummary> = {
  kind: 'network.summary',
  doc: 'A connection through the gateway ended.',
  fields: {
    host: 'canonical name or address',
    port: 'port',
    rule: 'id of the rule that allowed it',
    upBytes: 'bytes from the sandbox',
    downBytes: 'bytes to the sandbox',
    durationMs: 'milliseconds',
    end: 'closed, reset, budget, error or shutdown',
    repeats: 'this many more like it are in the sums; absent on a record of one',
  },
  say: (data) =>
    `${word(data, 'host')}:${word(data, 'port')} ${word(data, 'end')}, ${word(data, 'upBytes')} bytes up, ${word(data, 'downBytes')} down`,
};
