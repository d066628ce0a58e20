import { word, type EventSpec } from './spec.ts';

export interface CredentialSourceEvent {
  readonly credential: string;
  readonly state: 'failed' | 'refreshed' | 'revoked';
}

export const credentialSource: EventSpec<CredentialSourceEvent> = {
  kind: 'credential.source',
  doc: 'The source of a credential failed, gave a new value, or the credential was revoked.',
  fields: { credential: 'name', state: 'failed, refreshed or revoked' },
  say: (data) => `${word(data, 'credential')} ${word(data, 'state')}`,
};
