import { word, type EventSpec } from './spec.ts';

export interface AuditRotated {
  readonly previous: string;
  readonly bytes: number;
}

export const auditRotated: EventSpec<AuditRotated> = {
  kind: 'audit.rotated',
  doc: 'First record of a new file; its `prev` is the hash of the last line of the previous one.',
  fields: { previous: 'name of the previous file', bytes: 'its size' },
  say: (data) => `continues ${word(data, 'previous')}`,
};
