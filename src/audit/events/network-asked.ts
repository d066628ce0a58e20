import { optional, word, type EventSpec } from './spec.ts';

export interface NetworkAsked {
  readonly host: string;
  readonly port: number;
  readonly entry: string;
  readonly answer: 'once' | 'sandbox' | 'deny' | 'timeout' | 'full';
  readonly by?: string;
  readonly durationMs: number;
  readonly repeats?: number;
}

export const networkAsked: EventSpec<NetworkAsked> = {
  kind: 'network.asked',
  doc: 'A host that no rule knows was held until somebody answered, or nobody did.',
  fields: {
    host: 'canonical name or address',
    port: 'port',
    entry: 'how it came in',
    answer: 'once, sandbox, deny; timeout when nobody answered; full when too many were waiting',
    by: 'who answered; absent when nobody did',
    durationMs: 'milliseconds that it was held',
    repeats: 'this many more like it; absent on a record of one',
  },
  say: (data) =>
    `${word(data, 'host')}:${word(data, 'port')} ${word(data, 'answer')}${optional(data, 'by', ' by ')}`,
};
