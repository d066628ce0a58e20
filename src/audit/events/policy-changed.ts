import { optional, word, type EventSpec } from './spec.ts';

export interface PolicyChanged {
  readonly outcome: 'applied' | 'refused';
  readonly policy?: string;
  readonly reason?: string;
  readonly closed?: number;
}

export const policyChanged: EventSpec<PolicyChanged> = {
  kind: 'policy.changed',
  doc: 'The network policy of a running sandbox was replaced, or a bad one was refused and the old one stays.',
  fields: {
    outcome: 'applied or refused',
    policy: 'SHA-256 of the new policy',
    reason: 'why it was refused',
    closed: 'connections that the new policy no longer allows',
  },
  say: (data) => `${word(data, 'outcome')}${optional(data, 'policy', ' ')}${optional(data, 'reason', ': ')}`,
};
