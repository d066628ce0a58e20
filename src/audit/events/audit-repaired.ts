import { word, type EventSpec } from './spec.ts';

export interface AuditRepaired {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly movedTo: string;
}

export const auditRepaired: EventSpec<AuditRepaired> = {
  kind: 'audit.repaired',
  doc: 'The log ended in bytes that are no record (a writer was killed, or the machine lost power); they were moved aside.',
  fields: {
    file: 'name of the log file',
    offset: 'where the bytes began',
    bytes: 'how many',
    sha256: 'SHA-256 of them',
    movedTo: 'file in the same directory that holds them now',
  },
  say: (data) => `${word(data, 'bytes')} bytes of an unfinished record moved to ${word(data, 'movedTo')}`,
};
