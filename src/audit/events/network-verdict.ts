import { optional, word, type EventSpec } from './spec.ts';

export interface NetworkVerdict {
  readonly action: 'allow' | 'deny';
  readonly rule: string;
  readonly reason: string;
  readonly source?: string;
  readonly entry: string;
  readonly host: string;
  readonly port: number;
  readonly protocol?: string;
  readonly address?: string;
  readonly remedy?: string;
}

export const networkVerdict: EventSpec<NetworkVerdict> = {
  kind: 'network.verdict',
  doc: 'The gateway decided about a name or a connection.',
  fields: {
    action: 'allow or deny',
    rule: 'id of the rule that decided',
    reason: 'one sentence',
    source: 'file and line of the rule',
    entry: 'how it came in: dns, http-proxy, socks, transparent, sentinel',
    host: 'canonical name or address that was asked for',
    port: 'port that was asked for',
    protocol: 'https, http or tcp',
    address: 'the vetted address that was dialled',
    remedy: 'how to allow it; absent where nothing can',
  },
  say: (data) => {
    const reason = data['action'] === 'allow' ? '' : `: ${word(data, 'reason')}`;
    return `${word(data, 'action')} ${word(data, 'host')}:${word(data, 'port')}${optional(data, 'entry', ' by ')}${reason}`;
  },
};
