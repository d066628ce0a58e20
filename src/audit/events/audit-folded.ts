import { optional, word, type EventSpec } from './spec.ts';

export interface AuditFolded {
  readonly of: string;
  readonly count: number;
  readonly denied: number;
  readonly until: string;
}

export const auditFolded: EventSpec<AuditFolded> = {
  kind: 'audit.folded',
  doc: 'Stands for records of the network that came faster than the log could take them.',
  fields: {
    of: 'kind of the records that it stands for',
    count: 'how many',
    denied: 'how many of them tell of a refusal',
    until: 'when the last of them happened; the first happened at the time of this record',
  },
  say: (data) => `${word(data, 'count')} × ${word(data, 'of')}${optional(data, 'denied', ', refused: ')}`,
};
