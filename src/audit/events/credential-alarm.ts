import { optional, word, type EventSpec } from './spec.ts';

export interface CredentialAlarm {
  readonly rule: string;
  readonly reason: string;
  readonly host: string;
  readonly port: number;
  readonly foreign?: string;
}

export const credentialAlarm: EventSpec<CredentialAlarm> = {
  kind: 'credential.alarm',
  doc: 'A secret, a placeholder or a foreign credential was where it must not be; the request was refused.',
  fields: {
    rule: 'what was broken, such as structural.credential.leak',
    reason: 'one sentence; names the credential and the place, never a value',
    host: 'where it was going',
    port: 'port',
    foreign: 'keyed hash of a foreign credential',
  },
  say: (data) =>
    `${word(data, 'rule')} to ${word(data, 'host')}:${word(data, 'port')}: ${word(data, 'reason')}${optional(data, 'foreign', ' #')}`,
};
