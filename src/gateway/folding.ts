import type { ConnectionSummary, NetworkEvent, RequestRecord } from './contract.ts';
import type { Folding } from './flood-log.ts';

/** Requests are alike that the same rule answered in the same way; their paths differ. */
export const REQUEST_FOLDING: Folding<RequestRecord> = {
  key: (one) =>
    [one.action, one.rule, one.entry, one.host, one.port, one.method, one.status, one.credential].join(' '),
  merge: (held, next) => ({
    ...held,
    upBytes: held.upBytes + next.upBytes,
    downBytes: held.downBytes + next.downBytes,
    ...(held.alarm === true || next.alarm === true ? { alarm: true } : {}),
  }),
};

export const SUMMARY_FOLDING: Folding<ConnectionSummary> = {
  key: (one) => [one.rule, one.host, one.port, one.end].join(' '),
  merge: (held, next) => ({
    ...held,
    upBytes: held.upBytes + next.upBytes,
    downBytes: held.downBytes + next.downBytes,
  }),
};

/** Allowed connections; refusals are counted by `EventLog` itself. */
export const ALLOWED_FOLDING: Folding<NetworkEvent> = {
  key: (one) => [one.rule, one.entry, one.host, one.port, one.address].join(' '),
  merge: (held) => held,
};
