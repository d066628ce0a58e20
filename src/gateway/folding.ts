import type { AskOutcome, ConnectionSummary, NetworkEvent, RequestRecord } from './contract.ts';
import type { Folding } from './flood-log.ts';
import type { SignRecord } from './ssh-agent.ts';

/** Stands where folded records differ. */
const MANY = '(many)';

/** Requests are alike that the same rule answered in the same way; their paths differ. */
export const REQUEST_FOLDING: Folding<RequestRecord> = {
  key: (one) =>
    [one.host, one.port, one.entry, one.method, one.status, one.foreign, REQUEST_FOLDING.group(one)].join(
      ' ',
    ),
  group: (one) => [one.action, one.rule, one.credential, one.alarm].join(' '),
  merge: (held, next) => {
    const sums = {
      ...held,
      upBytes: held.upBytes + next.upBytes,
      downBytes: held.downBytes + next.downBytes,
    };
    if (REQUEST_FOLDING.key(held) === REQUEST_FOLDING.key(next)) return sums;
    const { foreign: _foreign, ...rest } = sums;
    return {
      ...rest,
      reason: common(held.reason, next.reason, 'requests of more kinds than are listed one by one'),
      host: common(held.host, next.host, MANY),
      port: common(held.port, next.port, 0),
      method: common(held.method, next.method, MANY),
      path: common(held.path, next.path, MANY),
      status: common(held.status, next.status, 0),
    };
  },
};

export const SUMMARY_FOLDING: Folding<ConnectionSummary> = {
  key: (one) => [one.rule, one.host, one.port, one.end].join(' '),
  group: (one) => one.rule,
  merge: (held, next) => ({
    ...held,
    host: common(held.host, next.host, MANY),
    port: common(held.port, next.port, 0),
    upBytes: held.upBytes + next.upBytes,
    downBytes: held.downBytes + next.downBytes,
  }),
};

/** Allowed connections; refusals are counted by `EventLog` itself. */
export const ALLOWED_FOLDING: Folding<NetworkEvent> = {
  key: (one) => [one.rule, one.entry, one.host, one.port, one.address].join(' '),
  group: (one) => [one.rule, one.entry].join(' '),
  merge: (held, next) => {
    if (held.host === next.host && held.port === next.port && held.address === next.address) return held;
    const { address: _address, ...rest } = held;
    return { ...rest, host: common(held.host, next.host, MANY), port: common(held.port, next.port, 0) };
  },
};

/** Questions that ended; a callback may answer thousands in a second. */
export const ASKED_FOLDING: Folding<AskOutcome> = {
  key: (one) => [one.host, one.port, one.entry, ASKED_FOLDING.group(one)].join(' '),
  group: (one) => [one.answer, one.by].join(' '),
  merge: (held, next) => ({
    ...held,
    host: common(held.host, next.host, MANY),
    port: common(held.port, next.port, 0),
  }),
};

/** Signatures that were asked for; keys and users are what a sandbox says. */
export const SIGN_FOLDING: Folding<SignRecord> = {
  key: (one) => [one.key, one.hostKey, one.user, SIGN_FOLDING.group(one)].join(' '),
  group: (one) => [one.action, one.reason].join(' '),
  merge: (held, next) =>
    SIGN_FOLDING.key(held) === SIGN_FOLDING.key(next) ? held : { action: held.action, reason: held.reason },
};

function common<T>(held: T, next: T, otherwise: T): T {
  return held === next ? held : otherwise;
}
