import type { EventKind } from '../contract.ts';
import { auditFolded } from './audit-folded.ts';
import { auditRepaired } from './audit-repaired.ts';
import { auditRotated } from './audit-rotated.ts';
import { credentialAlarm } from './credential-alarm.ts';
import { credentialSigned } from './credential-signed.ts';
import { credentialSource } from './credential-source.ts';
import { filesAppeared } from './files-appeared.ts';
import { imageChanged } from './image-changed.ts';
import { imageRefused } from './image-refused.ts';
import { limitHit } from './limit-hit.ts';
import { networkAsked } from './network-asked.ts';
import { networkRequest } from './network-request.ts';
import { networkSummary } from './network-summary.ts';
import { networkVerdict } from './network-verdict.ts';
import { policyChanged } from './policy-changed.ts';
import { policyTrust } from './policy-trust.ts';
import { reviewApplied } from './review-applied.ts';
import { reviewDiscarded } from './review-discarded.ts';
import { reviewMade } from './review-made.ts';
import { runCommand } from './run-command.ts';
import { runEnd } from './run-end.ts';
import { runRefused } from './run-refused.ts';
import { runStart } from './run-start.ts';
import { runTaken } from './run-taken.ts';
import type { EventSpec } from './spec.ts';

/** What is common to every kind, whatever its payload. */
export type AnyEventSpec = Pick<EventSpec<object>, 'kind' | 'doc' | 'say'> & {
  readonly fields: Readonly<Record<string, string>>;
};

/** Every kind of event. A new kind is a file here and a row. */
export const EVENT_SPECS: Readonly<Record<EventKind, AnyEventSpec>> = {
  'run.start': runStart,
  'run.taken': runTaken,
  'run.command': runCommand,
  'run.end': runEnd,
  'run.refused': runRefused,
  'network.verdict': networkVerdict,
  'network.summary': networkSummary,
  'network.request': networkRequest,
  'network.asked': networkAsked,
  'credential.alarm': credentialAlarm,
  'credential.source': credentialSource,
  'credential.signed': credentialSigned,
  'files.appeared': filesAppeared,
  'review.made': reviewMade,
  'review.applied': reviewApplied,
  'review.discarded': reviewDiscarded,
  'limit.hit': limitHit,
  'policy.trust': policyTrust,
  'policy.changed': policyChanged,
  'image.changed': imageChanged,
  'image.refused': imageRefused,
  'audit.repaired': auditRepaired,
  'audit.rotated': auditRotated,
  'audit.folded': auditFolded,
};

export function isEventKind(kind: string): kind is EventKind {
  return Object.hasOwn(EVENT_SPECS, kind);
}
