import { word, type EventSpec } from './spec.ts';

export interface PolicyTrust {
  readonly action: 'trust' | 'revoke';
  readonly file: string;
  readonly sha256: string;
}

export const policyTrust: EventSpec<PolicyTrust> = {
  kind: 'policy.trust',
  doc: 'A person trusted a project’s policy file, or took the trust back.',
  fields: { action: 'trust or revoke', file: 'path of the policy', sha256: 'SHA-256 of its bytes' },
  say: (data) => `${word(data, 'action')} ${word(data, 'file')}`,
};
