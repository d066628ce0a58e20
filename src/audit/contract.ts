/** Every kind of audit event; one file each in `src/audit/events/`. */
export type EventKind =
  | 'run.start'
  | 'run.command'
  | 'run.end'
  | 'run.taken'
  | 'run.refused'
  | 'network.verdict'
  | 'network.summary'
  | 'network.request'
  | 'network.asked'
  | 'credential.alarm'
  | 'credential.source'
  | 'credential.signed'
  | 'files.appeared'
  | 'review.made'
  | 'review.applied'
  | 'review.discarded'
  | 'limit.hit'
  | 'policy.trust'
  | 'policy.changed'
  | 'image.changed'
  | 'image.refused'
  | 'audit.repaired'
  | 'audit.rotated'
  | 'audit.folded';

/** Fields every record carries. `at` is UTC, RFC 3339 with milliseconds. */
export interface AuditRecord {
  readonly v: 1;
  /** Position in the chain; the first record of all has 0. Goes on across rotated files. */
  readonly seq: number;
  readonly at: string;
  readonly kind: EventKind;
  /** The sandbox that it is about; absent for policy and log events. */
  readonly sandbox?: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** SHA-256 (hex) of the previous record's line without its newline; 64 zeros for the first. */
  readonly prev: string;
}

/** What a caller hands over; the writer adds position, time and chain. */
export interface AuditEvent {
  readonly kind: EventKind;
  readonly sandbox?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** The writing end that other rooms see. */
export interface AuditSink {
  /**
   * Queues an event; resolves when the line is in the kernel's page cache. Order of calls is kept. `soon`: it may wait a few
   * milliseconds for others, because there are many of its kind and taking the lock for each would cost more than what they tell of.
   */
  write(event: AuditEvent, when?: 'now' | 'soon'): Promise<void>;
  /** Resolves when everything queued is written; throws E_AUDIT_UNWRITABLE when something could not be. */
  flush(): Promise<void>;
}
