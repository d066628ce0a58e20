import { optional, word, type EventSpec } from './spec.ts';

export interface CredentialSigned {
  readonly action: 'allow' | 'deny';
  readonly reason: string;
  readonly key?: string;
  readonly hostKey?: string;
  readonly user?: string;
  readonly repeats?: number;
}

export const credentialSigned: EventSpec<CredentialSigned> = {
  kind: 'credential.signed',
  doc: "A program in the sandbox asked the user's ssh agent for a signature.",
  fields: {
    action: 'allow or deny',
    reason: 'one sentence',
    key: 'fingerprint of the key that should sign',
    hostKey: 'fingerprint of the host that signed the session',
    user: 'login name at that host',
    repeats: 'this many more like it; absent on a record of one',
  },
  say: (data) =>
    `${word(data, 'action')}${optional(data, 'key', ' ')}${optional(data, 'hostKey', ' at ')}: ${word(data, 'reason')}`,
};
