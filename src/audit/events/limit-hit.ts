import { optional, word, type EventSpec } from './spec.ts';

export interface LimitHit {
  readonly limit: string;
  readonly value?: number;
}

export const limitHit: EventSpec<LimitHit> = {
  kind: 'limit.hit',
  doc: 'A limit stopped or ended something.',
  fields: { limit: 'name of the limit', value: 'its value, in the unit of the policy' },
  say: (data) => `${word(data, 'limit')}${optional(data, 'value', ' of ')}`,
};
