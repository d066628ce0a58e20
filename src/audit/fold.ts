import type { AuditEvent, EventKind } from './contract.ts';
import { auditFolded, type AuditFolded } from './events/audit-folded.ts';
import { auditEvent } from './events/spec.ts';
import type { PendingRecord } from './record.ts';
import { payloadJson } from './redact.ts';

/** Kinds that a sandbox can cause in any number. */
const FLOODING: ReadonlySet<EventKind> = new Set(['network.verdict', 'network.summary', 'network.request']);

/** One record in the place of many: it counts until it is written. */
export class Fold implements PendingRecord {
  readonly at: string;
  readonly #of: EventKind;
  readonly #sandbox: string | undefined;
  #count = 0;
  #denied = 0;
  #until: string;

  constructor(first: AuditEvent) {
    this.at = new Date().toISOString();
    this.#until = this.at;
    this.#of = first.kind;
    this.#sandbox = first.sandbox;
  }

  add(event: AuditEvent): void {
    this.#count++;
    if (event.data['action'] === 'deny') this.#denied++;
    this.#until = new Date().toISOString();
  }

  get event(): AuditEvent {
    const data: AuditFolded = {
      of: this.#of,
      count: this.#count,
      denied: this.#denied,
      until: this.#until,
    };
    return auditEvent(auditFolded, data, this.#sandbox);
  }

  get payload(): string {
    return payloadJson(this.event.data);
  }
}

/** Which record an event is counted in when there is no room for its own; undefined for one that is never folded. */
export function foldKey(event: AuditEvent): string | undefined {
  return FLOODING.has(event.kind) ? `${event.kind} ${event.sandbox ?? ''}` : undefined;
}
